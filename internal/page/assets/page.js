// Brings the page up to date while it is open: sections that have changed come by server-sent events, and are put in so that focus, selections and
// what was unfolded stay. Without it the page is the same, as of when it was loaded.
"use strict";

const main = document.querySelector("main[data-live]");
const live = document.getElementById("live");
const named = live ? live.textContent : "";
let source;

// morph makes one node like another, and keeps what is alike.
function morph(from, to) {
  if (from.nodeType !== to.nodeType || from.nodeName !== to.nodeName) {
    from.replaceWith(to);
    return;
  }
  if (from.nodeType !== Node.ELEMENT_NODE) {
    if (from.data !== to.data) from.data = to.data;
    return;
  }
  for (const { name } of [...from.attributes]) if (!to.hasAttribute(name) && !(name === "open" && from.nodeName === "DETAILS")) from.removeAttribute(name);
  for (const { name, value } of to.attributes) if (from.getAttribute(name) !== value) from.setAttribute(name, value);
  const known = new Map([...from.children].filter((c) => c.id).map((c) => [c.id, c]));
  let at = from.firstChild;
  for (const next of [...to.childNodes]) {
    const same = next.id && known.get(next.id);
    if (same) {
      if (same === at) at = at.nextSibling;
      else from.insertBefore(same, at);
      morph(same, next);
    } else if (at && !at.id && !next.id && at.nodeName === next.nodeName) {
      const here = at;
      at = at.nextSibling;
      morph(here, next);
    } else {
      from.insertBefore(next, at);
    }
  }
  while (at) {
    const gone = at;
    at = at.nextSibling;
    gone.remove();
  }
}

function parse(html) {
  return new DOMParser().parseFromString(html, "text/html");
}

// put puts in a section, with a button at each command that copies it.
function put(name, html) {
  const section = document.getElementById("s-" + name);
  if (!section) return;
  const next = section.cloneNode(false);
  next.append(...parse(html).body.childNodes);
  offerCopies(next);
  morph(section, next);
}

function offerCopies(root) {
  if (!navigator.clipboard) return;
  for (const box of root.querySelectorAll(".copy")) {
    if (box.querySelector("button")) continue;
    const button = document.createElement("button");
    button.type = "button";
    button.className = "small";
    button.textContent = "Copy";
    button.setAttribute("aria-label", "Copy " + box.querySelector("code").textContent);
    box.append(button);
  }
}

function say(text, well) {
  if (!live) return;
  live.textContent = named ? named + " · " + text : text;
  live.classList.toggle("off", !well);
}

function listen() {
  if (source) source.close();
  source = new EventSource(main.dataset.live);
  source.addEventListener("open", () => say("live", true));
  source.addEventListener("error", () => say("not connected", false));
  source.addEventListener("sections", (e) => {
    for (const [name, html] of Object.entries(JSON.parse(e.data))) put(name, html);
  });
}

// go shows the same page in another order, or with other topics unfolded, without loading it anew.
async function go(href, remember) {
  const answer = await fetch(href);
  if (!answer.ok) {
    location.assign(href);
    return;
  }
  const next = parse(await answer.text());
  main.dataset.live = next.querySelector("main").dataset.live;
  for (const section of next.querySelectorAll("main > section")) {
    if (section.id !== "s-configuration") put(section.id.slice(2), section.innerHTML);
  }
  if (remember) history.pushState(null, "", href);
  listen();
}

document.addEventListener("click", async (e) => {
  const link = e.target.closest("a[data-go]");
  if (link && main && !e.ctrlKey && !e.metaKey && !e.shiftKey && e.button === 0) {
    e.preventDefault();
    go(link.href, true).catch(() => location.assign(link.href));
    return;
  }
  const copy = e.target.closest(".copy button");
  if (copy) {
    await navigator.clipboard.writeText(copy.parentElement.querySelector("code").textContent);
    copy.textContent = "Copied";
    setTimeout(() => (copy.textContent = "Copy"), 1500);
  }
});

document.addEventListener("submit", (e) => {
  const button = e.target.querySelector("button.danger");
  if (button && !confirm(button.textContent + "?")) e.preventDefault();
});

offerCopies(document);
if (main) {
  window.addEventListener("popstate", () => go(location.href, false));
  document.addEventListener("visibilitychange", () => {
    if (document.hidden) source?.close();
    else listen();
  });
  listen();
}
