// Shows data.html and reports the value of the [data-pick] element that was pressed. The root is kept between runs, so
// that a chart does not flicker, and keyboard focus returns to the element that had it.
export default function ({ data, parentElement, setTriggerValue }) {
  let root = parentElement.querySelector(":scope > .em-root");
  if (!root) {
    root = document.createElement("div");
    root.className = "em-root";
    parentElement.appendChild(root);
  }
  if (root.shown !== data.html) {
    const focused = root.contains(document.activeElement) ? document.activeElement.dataset.pick : undefined;
    const scrolled = [...root.querySelectorAll(".em-scroll")].map((e) => e.scrollLeft);
    root.innerHTML = data.html;
    root.shown = data.html;
    root.querySelectorAll(".em-scroll").forEach((e, i) => (e.scrollLeft = scrolled[i] ?? 0));
    if (focused !== undefined) {
      root.querySelector(`[data-pick="${CSS.escape(focused)}"]`)?.focus({ preventScroll: true });
    }
  }
  root.onclick = (event) => {
    const target = event.target.closest("[data-pick]");
    if (target && !target.disabled) {
      setTriggerValue("picked", target.dataset.pick);
    }
  };
}
