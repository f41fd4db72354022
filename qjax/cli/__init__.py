"""The command `qjax`: training, plotting and watching runs, and what scripts of one's own share with it.

Read `main` (the subcommands) first, then `train` with `arguments`, `reading` and `grid`, and `command`, which runs
a sweep into a folder for any script; `plot`, `results` and `report` stand on `studies`, the first and the last on
`grouping` and `compare` too, `watch` on `render`. It may import all of the package, and nothing of the package
imports it.
"""
