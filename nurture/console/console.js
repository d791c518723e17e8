// Times are in UTC in the page; show them in the zone of the viewer.
(() => {
  const format = new Intl.DateTimeFormat(undefined, {
    weekday: "short", day: "numeric", month: "short", hour: "2-digit", minute: "2-digit",
  });
  const localize = (root) => {
    for (const time of root.querySelectorAll("time[datetime]:not([data-local])")) {
      time.dataset.local = "";
      time.title = time.textContent;
      time.textContent = format.format(new Date(time.dateTime));
    }
  };
  new MutationObserver(() => localize(document)).observe(document, { childList: true, subtree: true });
})();
