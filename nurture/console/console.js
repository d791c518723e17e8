// Times are in UTC in the page; show them in the zone of the viewer.
(() => {
  const parts = { weekday: "short", day: "numeric", month: "short", hour: "2-digit", minute: "2-digit" };
  const thisYear = new Intl.DateTimeFormat(undefined, parts);
  const otherYear = new Intl.DateTimeFormat(undefined, { ...parts, year: "numeric" });
  const now = () => new Date(document.querySelector(".practice time")?.dateTime ?? Date.now());
  addEventListener("load", () =>
    document.querySelector(".navigation [aria-current]")?.scrollIntoView({ block: "nearest", inline: "nearest" }));
  const localize = (root) => {
    const zone = root.querySelector(".zone:not([data-local])");
    if (zone) {
      zone.dataset.local = "";
      zone.textContent = `Times are those of ${thisYear.resolvedOptions().timeZone}.`;
    }
    for (const time of root.querySelectorAll("time[datetime]:not([data-local])")) {
      time.dataset.local = "";
      time.title = time.textContent;
      const at = new Date(time.dateTime);
      const isShort = at.getFullYear() === now().getFullYear() && !time.closest(".practice");
      time.textContent = (isShort ? thisYear : otherYear).format(at);
    }
  };
  // The server closes the socket of a session that ended: then this page leads to the sign-in, and from there back.
  setInterval(async () => {
    if (document.getElementById("popup")?.ariaHidden !== "false") return;
    const check = { method: "HEAD", redirect: "manual", cache: "no-store" };
    const answer = await fetch(location.href, check).catch(() => null);
    if (answer?.type === "opaqueredirect") location.reload();
  }, 2000);
  const showCurrent = () => {
    const current = document.querySelector("nav.navigation a[aria-current]:not([data-shown])");
    if (!current) return;
    current.dataset.shown = "";
    current.parentElement.scrollLeft = current.offsetLeft - (innerWidth - current.offsetWidth) / 2;
  };
  new MutationObserver(() => { localize(document); showCurrent(); }).observe(document, { childList: true, subtree: true });
})();

// Draw the arrows between the tracks of a sheet; each track says in words where it leads, too.
(() => {
  const path = (sheet, from, to) => {
    const origin = sheet.getBoundingClientRect();
    const [a, b] = [from.getBoundingClientRect(), to.getBoundingClientRect()];
    const ahead = b.left >= a.right;
    const [x, y] = [(ahead ? a.right : a.left) - origin.left, a.top + a.height / 2 - origin.top];
    const [u, v] = [b.left - 8 - origin.left, b.top + b.height / 2 - origin.top];
    const bend = ahead ? (u - x) / 2 : -40;
    return `<path d="M${x} ${y} C${x + bend} ${y} ${u - Math.abs(bend)} ${v} ${u} ${v}" marker-end="url(#arrow)"/>`;
  };
  const draw = () => {
    for (const sheet of document.querySelectorAll(".sheet:not(.of-1):not(:has(> svg))")) {
      const tracks = [...sheet.querySelectorAll("[data-track]")];
      const drawn = tracks.flatMap((from) => from.dataset.to.split(" ")
        .map((name) => tracks.find((one) => one !== from && one.dataset.track === name))
        .filter(Boolean).map((to) => path(sheet, from, to)));
      const head = '<marker id="arrow" viewBox="0 0 8 8" refX="1" refY="4" markerWidth="8" markerHeight="8" ' +
        'orient="auto"><path d="M0 0 8 4 0 8z"/></marker>';
      sheet.insertAdjacentHTML("beforeend", `<svg class="ways-between" aria-hidden="true">${head}${drawn.join("")}</svg>`);
    }
  };
  new MutationObserver(draw).observe(document, { childList: true, subtree: true });
  addEventListener("resize", () => document.querySelectorAll(".ways-between").forEach((one) => one.remove()));
})();

// Send each chosen file as the body of a request, so that the server can write it while it arrives.
(() => {
  const send = (form, [file, ...others], show, isOnly = !others.length) => {
    const request = new XMLHttpRequest();
    const bar = form.querySelector("progress");
    request.upload.onprogress = (event) => { bar.max = event.total; bar.value = event.loaded; };
    request.onload = () => {
      if (request.status === 200 && others.length) send(form, others, show, false);
      else if (request.status === 200) location.assign(isOnly ? request.responseText : "/import");
      else show(`${file.name}: ${request.responseText.length < 400 ? request.responseText : "refused. Sign in again."}`);
    };
    request.onerror = () => show(`${file.name} could not be sent. Try again.`);
    request.open("POST", `/import/files?name=${encodeURIComponent(file.name)}`);
    request.setRequestHeader("Content-Type", "application/octet-stream");
    bar.hidden = false;
    request.send(file);
  };
  document.addEventListener("submit", (event) => {
    const form = event.target.closest("form.upload");
    if (!form) return;
    event.preventDefault();
    const files = [...form.querySelector("input[type=file]").files];
    const button = form.querySelector("button");
    const show = (text) => {
      form.querySelector(".refusal").textContent = text;
      form.querySelector("progress").hidden = true;
      button.disabled = false;
    };
    show("");
    if (!files.length) return;
    const most = Number(form.dataset.most);
    const large = files.find((file) => file.size > most);
    if (large) return show(`${large.name}: a file has at most ${Math.floor(most / 1e6)} MB. Split it.`);
    button.disabled = true;
    send(form, files, show);
  });
})();
// Give an editor its name for screen readers, and the words that it completes.
async function completeInEditor(id, label, words) {
  const CM = await import("nicegui-codemirror");
  const element = getElement(id);
  await element.editorPromise;
  const options = words.map((word) => ({ label: word }));
  const complete = (context) => {
    const before = context.matchBefore(/[\w.-]+/);
    return before || context.explicit ? { from: before ? before.from : context.pos, options } : null;
  };
  element.editor.dispatch({
    effects: CM.StateEffect.appendConfig.of([
      CM.EditorView.contentAttributes.of({ "aria-label": label }),
      CM.EditorState.languageData.of(() => [{ autocomplete: complete }]),
    ]),
  });
}
// Mark the lines of an editor that have a fault, each with its text, and leave the others unmarked.
async function markInEditor(id, lines) {
  const element = getElement(id);
  await element.editorPromise;
  element.setLineTooltips(lines);
  element.setDecorations(Object.keys(lines).map((line) => ({ kind: "line", line: Number(line), class: "fault-line" })));
}
