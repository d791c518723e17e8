// Times are in UTC in the page; show them in the zone of the viewer.
(() => {
  const parts = { weekday: "short", day: "numeric", month: "short", hour: "2-digit", minute: "2-digit" };
  const thisYear = new Intl.DateTimeFormat(undefined, parts);
  const otherYear = new Intl.DateTimeFormat(undefined, { ...parts, year: "numeric" });
  const now = () => new Date(document.querySelector(".practice time")?.dateTime ?? Date.now());
  const localize = (root) => {
    for (const time of root.querySelectorAll("time[datetime]:not([data-local])")) {
      time.dataset.local = "";
      time.title = time.textContent;
      const at = new Date(time.dateTime);
      time.textContent = (at.getFullYear() === now().getFullYear() ? thisYear : otherYear).format(at);
    }
  };
  new MutationObserver(() => localize(document)).observe(document, { childList: true, subtree: true });
})();
