"""`qjax report`: a page of runs to send to somebody.

Read `page`, then `material` (what is read of runs) and `parts` (what a page is made of); `overview`, `search`,
`scores`, `drawn`, `cost`, `constants`, `commands` and `animation` are its sections, `page.html` and `page.css` its
look.
"""

from qjax.cli.report.command import Arguments, main
from qjax.cli.report.page import write

__all__ = ["Arguments", "main", "write"]
