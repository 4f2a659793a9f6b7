"use strict";
for (const choice of document.querySelectorAll("select[data-sorts]")) {
  choice.addEventListener("change", () => {
    const list = document.getElementById(choice.dataset.sorts);
    const [key, direction] = choice.value.split(" ");
    const items = [...list.children];
    items.sort((a, b) => (a.dataset[key] - b.dataset[key]) * (direction === "down" ? -1 : 1));
    list.append(...items);
  });
}
