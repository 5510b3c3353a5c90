// Notices a newer run and shows it in place, fills lines of the first view, says that a page is on its way, and offers the reader's own time zone. Pages are whole without this.

import { helpWithFilters } from "./filter.js";

const EVERY = 30_000;

async function lookForNews() {
  const known = document.body.dataset.run;
  const line = document.getElementById("news");
  if (!known || !line || document.hidden) return;
  try {
    const answer = await fetch("/news.json", { headers: { accept: "application/json" }, cache: "no-store" });
    // The session is over: looking on would tell nothing.
    if (answer.status === 401) clearInterval(looking);
    if (!answer.ok) return;
    const { run } = await answer.json();
    if (run && run !== known) line.hidden = false;
  } catch {
    // The server is away for a moment: it is asked again.
  }
}

// What was restated, and who fell silent, is asked for once the figures are there. Without an answer the lines stay the links that they are.
async function fillNotices() {
  const list = document.querySelector("[data-notices]");
  if (!list) return;
  try {
    const answer = await fetch(list.dataset.notices, { headers: { accept: "application/json" } });
    if (!answer.ok) return;
    const said = await answer.json();
    for (const link of list.querySelectorAll("[data-notice]")) {
      const text = said[link.dataset.notice];
      if (text) link.textContent = text;
      else link.parentElement.remove();
    }
  } catch {
    // The server is away for a moment.
  }
}

function offerTimeZone() {
  const field = document.querySelector(".chooser input[name=timezone]");
  const own = Intl.DateTimeFormat().resolvedOptions().timeZone;
  if (!field || !own || field.list) return;
  const list = document.createElement("datalist");
  list.id = "zones";
  for (const name of [own, "UTC"]) {
    const option = document.createElement("option");
    option.value = name;
    list.append(option);
  }
  field.after(list);
  field.setAttribute("list", list.id);
}

// A named period and two dates exclude each other: the one that was touched last counts.
function keepOnePeriod() {
  const form = document.querySelector(".chooser form");
  if (!form) return;
  const { period, from, to } = form.elements;
  period.addEventListener("change", () => {
    if (period.value) from.value = to.value = "";
  });
  for (const date of [from, to]) {
    date.addEventListener("input", () => { period.value = ""; });
  }
}

// A page that the browser had kept whole comes back with what was chosen before it was left: its form says what it is of again.
function sayWhatIsShown(event) {
  if (event.persisted) document.querySelector("form.view")?.reset();
}

// A narrow screen has the figures first, and the form a touch away.
function foldTheForm() {
  const form = document.querySelector("details.chooser");
  if (!form) return;
  const narrow = matchMedia("(max-width: 759px)");
  const fold = () => { form.open = !narrow.matches; };
  narrow.addEventListener("change", fold);
  fold();
}

// What is behind the line of news, in the place of what is shown: the reader stays at the same place, and what was unfolded stays so.
async function showNews(link) {
  setLoading(true);
  try {
    const answer = await fetch(link.href, { headers: { accept: "text/html" } });
    if (!answer.ok || answer.redirected) throw new Error(answer.statusText);
    const page = new DOMParser().parseFromString(await answer.text(), "text/html");
    const [main, footer] = [page.querySelector("main"), page.querySelector("footer")];
    if (!main || !footer) throw new Error("no page");
    const unfolded = [...document.querySelectorAll("main details")].map((part) => part.open);
    main.querySelectorAll("details").forEach((part, at) => { part.open = unfolded[at] ?? part.open; });
    document.querySelector("main").replaceWith(main);
    document.querySelector("footer").replaceWith(footer);
    document.title = page.title;
    document.body.dataset.run = page.body.dataset.run;
    document.getElementById("news").hidden = true;
    history.replaceState(null, "", link.href);
    helpWithPage();
    main.focus({ preventScroll: true });
    setLoading(false);
  } catch {
    // The browser asks for it itself, and says what is wrong.
    location.assign(link.href);
  }
}

// A line at the upper edge, over the page: nothing below it moves.
function setLoading(isLoading) {
  document.documentElement.classList.toggle("loading", isLoading);
  document.querySelector("main")?.setAttribute("aria-busy", String(isLoading));
}

function leadsToPage(link) {
  return link.origin === location.origin && !link.hasAttribute("download") && !(link.hash && link.pathname === location.pathname && link.search === location.search);
}

function sayThatAPageIsOnItsWay() {
  document.addEventListener("click", (event) => {
    const link = event.target.closest("a[href]");
    const isPlain = event.button === 0 && !event.ctrlKey && !event.metaKey && !event.shiftKey && !event.altKey;
    // Links of a drawing have addresses of another kind.
    if (!(link instanceof HTMLAnchorElement) || !isPlain || event.defaultPrevented) return;
    if (link.closest("#news")) {
      event.preventDefault();
      showNews(link);
    } else if (leadsToPage(link)) {
      setLoading(true);
    }
  });
  document.addEventListener("submit", () => setLoading(true));
  // Back from another page, as this one was left.
  addEventListener("pageshow", () => setLoading(false));
}

function helpWithPage() {
  fillNotices();
  offerTimeZone();
  keepOnePeriod();
  foldTheForm();
  helpWithFilters();
}

helpWithPage();
sayThatAPageIsOnItsWay();
addEventListener("pageshow", sayWhatIsShown);
const looking = setInterval(lookForNews, EVERY);
document.addEventListener("visibilitychange", lookForNews);
