"""The command `qjax`: training, plotting and watching runs, and what scripts of one's own share with it.

Read `main` (the subcommands) first, then `train` with `arguments`, `reading` and `grid`, and `command`, which runs
a sweep into a folder for any script; `plot` and `results` stand on `studies`, `watch` on `render`. It may import
all of the package, and nothing of the package imports it.
"""
