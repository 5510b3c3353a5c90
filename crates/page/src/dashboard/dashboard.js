// Notices a newer run, and offers the reader's own time zone. Pages are whole without this.

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

function offerTimeZone() {
  const field = document.querySelector("form.view input[name=timezone]");
  const own = Intl.DateTimeFormat().resolvedOptions().timeZone;
  if (!field || !own) return;
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
  const form = document.querySelector("form.view");
  if (!form) return;
  const { period, from, to } = form.elements;
  period.addEventListener("change", () => {
    if (period.value) from.value = to.value = "";
  });
  for (const date of [from, to]) {
    date.addEventListener("input", () => { period.value = ""; });
  }
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

offerTimeZone();
keepOnePeriod();
foldTheForm();
const looking = setInterval(lookForNews, EVERY);
document.addEventListener("visibilitychange", lookForNews);
