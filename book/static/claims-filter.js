/* The claims page: show only the claims of one paper, or of one verdict. Everything it needs stands in
   the page, so it works from a folder too; without it all claims are shown. */
(function () {
  "use strict";
  const tables = Array.from(document.querySelectorAll("table.claims"));
  if (!tables.length) return;

  /* A claim: its paper, its verdict, its line in the overview, its section below. */
  const claims = [];
  const papers = new Map();
  tables.forEach(function (table) {
    const paper = Array.from(table.classList).find((name) => name.startsWith("paper-"));
    const box = table.closest(".pst-scrollable-table-container") || table;
    const title = box.previousElementSibling;
    papers.set(paper, { title: title.textContent, parts: [title, box] });
    table.querySelectorAll("tbody tr").forEach(function (row) {
      const link = row.querySelector("a[href^='#claim-']");
      claims.push({
        paper: paper,
        verdict: row.querySelector(".verdict").textContent,
        parts: [row, document.getElementById(link.getAttribute("href").slice(1))],
      });
    });
    const section = document.getElementById("claims-" + paper.slice(6));
    if (section) papers.get(paper).parts.push(section);
  });

  const form = document.createElement("form");
  form.className = "claims-filter";
  form.setAttribute("aria-label", "Filter the claims");
  const paper = choice("Paper", Array.from(papers, ([name, one]) => [name, one.title]));
  const verdicts = Array.from(new Set(claims.map((claim) => claim.verdict)));
  const verdict = choice("Verdict", verdicts.map((words) => [words, words]));
  const count = document.createElement("p");
  count.setAttribute("role", "status");
  const all = document.createElement("button");
  all.type = "reset";
  all.textContent = "Show all";
  form.append(all, count);
  papers.get(claims[0].paper).parts[0].before(form);
  form.addEventListener("change", show);
  form.addEventListener("submit", (event) => event.preventDefault());
  form.addEventListener("reset", () => setTimeout(show));
  window.addEventListener("hashchange", reveal);
  show();
  reveal();

  function choice(name, options) {
    const label = document.createElement("label");
    const select = document.createElement("select");
    select.name = name.toLowerCase();
    select.append(new Option("all", ""), ...options.map(([value, text]) => new Option(text, value)));
    label.append(name + " ", select);
    form.append(label);
    return select;
  }

  function show() {
    const left = new Map();
    let shown = 0;
    claims.forEach(function (claim) {
      const fits = (!paper.value || claim.paper === paper.value) &&
        (!verdict.value || claim.verdict === verdict.value);
      hide(claim.parts, !fits);
      if (fits) {
        shown += 1;
        left.set(claim.paper, true);
      }
    });
    papers.forEach((one, name) => hide(one.parts, !left.has(name)));
    count.textContent = shown + " of " + claims.length + " claims";
    all.disabled = !paper.value && !verdict.value;
  }

  function hide(parts, hidden) {
    parts.forEach((part) => { if (part) part.hidden = hidden; });
  }

  /* A link to a claim that is filtered out shows all again. */
  function reveal() {
    const target = location.hash && document.getElementById(decodeURIComponent(location.hash.slice(1)));
    if (target && target.closest("[hidden]")) {
      form.reset();
      setTimeout(() => target.scrollIntoView(), 50);
    }
  }
})();
