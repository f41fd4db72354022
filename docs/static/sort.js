// A click on a heading sorts its table by that column, the next one the other way; numbers by their value.
document.addEventListener("DOMContentLoaded", () => {
  const value = (row, column) => row.cells[column].textContent.trim();
  const number = (text) => {
    const few = text.match(/^(\d+) of \d+$/); // fewer than half of the seeds ever: later than all times, the more the sooner
    if (few) return 1e15 - Number(few[1]);
    const found = text.replaceAll(",", "").replace("−", "-").match(/^-?\d+(\.\d+)?/);
    if (!found) return NaN;
    return Number(found[0]) * (/\d\s*min\b/.test(text) ? 60 : 1);
  };
  const compare = (one, other) => {
    const [a, b] = [number(one), number(other)];
    if (!Number.isNaN(a) && !Number.isNaN(b)) return a - b;
    if (one === "" || other === "") return (one === "") - (other === ""); // what is missing comes last
    return one.localeCompare(other);
  };
  for (const heading of document.querySelectorAll("table.docutils thead th")) {
    const sort = () => {
      const body = heading.closest("table").tBodies[0];
      const descending = heading.ariaSort === "ascending";
      for (const other of heading.parentElement.cells) other.ariaSort = null;
      heading.ariaSort = descending ? "descending" : "ascending";
      const column = heading.cellIndex;
      const rows = [...body.rows].sort((a, b) => {
        const [one, other] = [value(a, column), value(b, column)];
        const empty = one === "" || other === "";
        return compare(one, other) * (descending && !empty ? -1 : 1);
      });
      body.append(...rows);
    };
    heading.tabIndex = 0;
    heading.title = "Sort";
    heading.addEventListener("click", sort);
    heading.addEventListener("keydown", (event) => event.key === "Enter" && sort());
  }
});
