// A link from elsewhere is followed without the cookie, which pages of this server alone send: a reader who has a session need not log in again.

const form = document.getElementById("login");
const isRefused = document.querySelector("[role=alert]");

if (form && !isRefused) {
  try {
    const answer = await fetch("/news.json", { headers: { accept: "application/json" }, cache: "no-store" });
    if (answer.ok) location.replace(form.dataset.next);
  } catch {
    // The form is there.
  }
}
