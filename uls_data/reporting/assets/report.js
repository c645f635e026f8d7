// Sort, filter and page through the rows of a report. No framework, no network; text reaches
// the page as text only, never as markup. Other scripts may use `ulsReport` and its events.
"use strict";

const ulsReport = (() => {
  const data = JSON.parse(document.getElementById("data").textContent);
  const columns = new Map(data.columns.map((column) => [column.name, column]));
  const count = data.pictures.length;

  const value = (name, row) => {
    const column = columns.get(name);
    if (column === undefined) return null;
    if (column.numbers) return column.numbers[row];
    return column.codes[row] < 0 ? null : column.texts[column.codes[row]];
  };

  const picture = (row) => {
    const found = data.pictures[row];
    if (found === null) return null;
    return data.embedded ? "data:image/jpeg;base64," + found : found;
  };

  const shown = (value) => {
    if (value === null) return "-";
    if (typeof value !== "number" || Number.isInteger(value)) return String(value);
    return Math.abs(value) >= 1000 ? value.toFixed(0) : String(Number(value.toPrecision(4)));
  };

  const tell = (name, detail) => document.dispatchEvent(new CustomEvent(name, { detail }));

  return { data, columns, count, value, picture, shown, tell };
})();

const make = (tag, attributes = {}, ...children) => {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (name === "class") element.className = value;
    else if (name in element && name !== "list") element[name] = value;
    else element.setAttribute(name, value);
  }
  element.append(...children);
  return element;
};

// Pictures get their source when they come near the screen.
const lazy = new IntersectionObserver(
  (entries) => {
    for (const entry of entries) {
      if (!entry.isIntersecting) continue;
      lazy.unobserve(entry.target);
      load(entry.target);
    }
  },
  { rootMargin: "600px" },
);

const load = (holder) => {
  if (holder.firstChild !== null) return;
  const row = Number(holder.dataset.row);
  const source = ulsReport.picture(row);
  if (source === null) {
    const reason = ulsReport.value("reason", row);
    holder.append(make("span", { class: "none" }, reason === null ? "no picture" : reason));
  } else {
    holder.append(make("img", { src: source, alt: ulsReport.value("voi_id", row) ?? "" }));
  }
};

const pictureHolder = (row) => {
  const holder = make("span", { class: "picture" });
  holder.dataset.row = row;
  lazy.observe(holder);
  return holder;
};

// One lesion, large, with all its columns.
ulsReport.details = (() => {
  const dialog = document.getElementById("details");
  const title = dialog.querySelector("b");
  const image = dialog.querySelector("div.image");
  const list = dialog.querySelector("dl");
  let row = null;

  const open = (next) => {
    row = next;
    title.textContent =
      ulsReport.value("voi_id", row) ??
      `${ulsReport.value("source", row)}, ${ulsReport.value("case_id", row)}`;
    const source = ulsReport.picture(row);
    image.replaceChildren(...(source === null ? [] : [make("img", { src: source, alt: "" })]));
    list.replaceChildren();
    // Hashes and unique ids last: nobody reads them first.
    const opaque = (name) => name.endsWith("_sha256") || name.endsWith("_uid");
    const names = [...ulsReport.columns.keys()];
    for (const name of [...names.filter((n) => !opaque(n)), ...names.filter(opaque)]) {
      const value = ulsReport.value(name, row);
      if (value === null || value === "") continue;
      list.append(make("div", {}, make("dt", {}, name), make("dd", {}, ulsReport.shown(value))));
    }
    link();
    if (!dialog.open) dialog.showModal();
    ulsReport.tell("uls-open", row);
  };

  // Triage accepts local connections only, at an address that is new at each start.
  const address = document.getElementById("address");
  const judge = document.getElementById("judge");
  const link = () => {
    const said = /^http:\/\/(127\.0\.0\.1|localhost):\d+\/(\?token=[\w-]+)?/.exec(address.value.trim());
    const parts = ulsReport.data.triage.map((name) => ulsReport.value(name, row));
    judge.hidden = said === null || parts.includes(null);
    if (!judge.hidden) judge.href = `${said[0]}#${parts.map(encodeURIComponent).join("/")}`;
  };
  address.addEventListener("input", link);

  const step = (by) => {
    const rows = ulsReport.list.rows();
    const at = rows.indexOf(row) + by;
    if (at >= 0 && at < rows.length) open(rows[at]);
  };

  dialog.querySelector(".close").addEventListener("click", () => dialog.close());
  dialog.querySelector(".back").addEventListener("click", () => step(-1));
  dialog.querySelector(".next").addEventListener("click", () => step(1));
  dialog.addEventListener("keydown", (event) => {
    if (event.target.matches("input, textarea")) return;
    if (event.key === "ArrowLeft") step(-1);
    if (event.key === "ArrowRight") step(1);
  });
  return { open, step, row: () => row };
})();

// The rows that meet all conditions, in order, a page at a time.
ulsReport.list = (() => {
  const find = (id) => document.getElementById(id);
  const [sort, descending, view] = [find("sort"), find("descending"), find("view")];
  const [column, operator, operand] = [find("column"), find("operator"), find("operand")];
  const body = find("rows");
  const perPage = () => Number(find("perpage").value);
  const part = ulsReport.data.part;
  let conditions = part ? [] : [{ column: "status", operator: "is", operand: "ok" }];
  let rows = [];
  let page = 0;

  const numeric = (name) => Boolean(ulsReport.columns.get(name)?.numbers);
  const operators = (name) =>
    numeric(name)
      ? ["≥", "≤", "=", "≠", "is empty", "is not empty"]
      : ["is", "is not", "one of", "contains", "lacks", "is empty", "is not empty"];

  const meets = (row, condition) => {
    const value = ulsReport.value(condition.column, row);
    if (condition.operator === "is empty") return value === null || value === "";
    if (condition.operator === "is not empty") return value !== null && value !== "";
    if (value === null) return condition.operator === "is not" || condition.operator === "lacks";
    if (numeric(condition.column)) {
      const number = Number(condition.operand);
      if (condition.operator === "≥") return value >= number;
      if (condition.operator === "≤") return value <= number;
      return (value === number) === (condition.operator === "=");
    }
    const text = value.toLowerCase();
    const wanted = condition.operand.toLowerCase();
    if (condition.operator === "is") return text === wanted;
    if (condition.operator === "is not") return text !== wanted;
    if (condition.operator === "one of") return wanted.split(" | ").includes(text);
    return text.includes(wanted) === (condition.operator === "contains");
  };

  const compare = (name, sign) => (one, two) => {
    const [a, b] = [ulsReport.value(name, one), ulsReport.value(name, two)];
    // Rows without a value come last, whichever way.
    if (a === null || b === null) return (a === null) - (b === null) || one - two;
    return sign * (a < b ? -1 : a > b ? 1 : 0) || one - two;
  };

  // A text is looked for in each different value of these columns, not in every row.
  const SEARCHED = ["voi_id", "case_id", "patient_id", "source", "layer", "lesion_type", "status",
    "reason", "qc_flags", "detail"];
  const searching = () => {
    const words = find("search").value.toLowerCase().split(/\s+/).filter((word) => word !== "");
    const columns = SEARCHED.map((name) => ulsReport.columns.get(name)).filter((one) => one?.texts);
    const tests = words.map((word) =>
      columns.map(({ texts, codes }) => [codes, texts.map((text) => text.toLowerCase().includes(word))]));
    return (row) => tests.every((test) => test.some(([codes, hits]) => codes[row] >= 0 && hits[codes[row]]));
  };

  const update = () => {
    rows = [];
    const found = searching();
    for (let row = 0; row < ulsReport.count; row += 1) {
      if (found(row) && conditions.every((condition) => meets(row, condition))) rows.push(row);
    }
    if (sort.value !== "") rows.sort(compare(sort.value, descending.checked ? -1 : 1));
    page = 0;
    draw();
  };

  const card = (row) => {
    const words = make("span", { class: "words" });
    const name = ulsReport.value("voi_id", row) ?? ulsReport.value("case_id", row);
    words.append(make("b", {}, name ?? "-"));
    const facts = [...new Set([...ulsReport.data.captions, sort.value])]
      .filter((key) => ulsReport.columns.has(key) && ulsReport.value(key, row) !== null)
      .map((key) => `${key} ${ulsReport.shown(ulsReport.value(key, row))}`);
    words.append(make("span", {}, facts.join(" · ")));
    const button = make("button", { class: "card", type: "button" }, pictureHolder(row), words);
    button.dataset.open = row;
    return button;
  };

  const tableOf = (some) => {
    const names = [...new Set(["source", "case_id", "voi_id", "layer", "status", "reason",
      ...ulsReport.data.captions, sort.value, "detail"])]
      .filter((name) => some.some((row) => ulsReport.value(name, row) !== null));
    const head = make("tr");
    for (const name of names) {
      const button = make("button", { type: "button" }, name);
      button.addEventListener("click", () => {
        descending.checked = sort.value === name && !descending.checked;
        sort.value = name;
        update();
      });
      head.append(make("th", { class: numeric(name) ? "number" : "" }, button));
    }
    const lines = some.map((row) => {
      const line = make("tr");
      line.dataset.open = row;
      for (const name of names) {
        const kind = numeric(name) ? "number" : name === "detail" ? "detail" : "";
        line.append(make("td", { class: kind }, ulsReport.shown(ulsReport.value(name, row))));
      }
      return line;
    });
    return make("div", { class: "wide" },
      make("table", {}, make("thead", {}, head), make("tbody", {}, ...lines)));
  };

  const draw = () => {
    const pages = Math.max(1, Math.ceil(rows.length / perPage()));
    const some = rows.slice(page * perPage(), (page + 1) * perPage());
    body.replaceChildren(
      view.value === "table"
        ? tableOf(some)
        : make("div", { class: "grid" }, ...some.map(card)),
    );
    find("count").textContent = `${rows.length} of ${ulsReport.count} rows`;
    const ends = [some[0], some[some.length - 1]].map((row) => ulsReport.value(sort.value, row));
    find("place").textContent = sort.value === "" || some.length === 0 ? ""
      : `${sort.value} ${ulsReport.shown(ends[0])} to ${ulsReport.shown(ends[1])};`;
    for (const pager of document.querySelectorAll(".pager")) {
      pager.querySelector("span").textContent = `of ${pages}`;
      Object.assign(pager.querySelector("input"), { value: page + 1, max: pages });
      for (const name of [".first", ".back"]) pager.querySelector(name).disabled = page === 0;
      for (const name of [".next", ".last"]) pager.querySelector(name).disabled = page + 1 >= pages;
    }
    const chips = conditions.map((condition, at) => {
      const text = `${condition.column} ${condition.operator} ${condition.operand}`.trim();
      const chip = make("button", { type: "button", title: "remove this condition" }, text);
      chip.addEventListener("click", () => {
        conditions.splice(at, 1);
        update();
      });
      return chip;
    });
    find("conditions").replaceChildren(...chips);
    ulsReport.tell("uls-list", rows);
  };

  const turn = (to) => {
    const last = Math.max(0, Math.ceil(rows.length / perPage()) - 1);
    page = Math.min(Math.max(Math.trunc(to) || 0, 0), last);
    draw();
    find("lesions").scrollIntoView();
  };

  const chooseOperators = () => {
    operator.replaceChildren(...operators(column.value).map((name) => make("option", {}, name)));
    const texts = ulsReport.columns.get(column.value)?.texts ?? [];
    find("known").replaceChildren(
      ...(texts.length <= 60 ? texts : []).map((text) => make("option", { value: text })),
    );
  };

  const filter = (next) => {
    conditions = next;
    update();
    find("lesions").scrollIntoView();
  };

  for (const name of ulsReport.columns.keys()) {
    sort.append(make("option", { value: name }, name));
    column.append(make("option", { value: name }, name));
  }
  chooseOperators();
  column.addEventListener("change", chooseOperators);
  sort.addEventListener("change", update);
  descending.addEventListener("change", update);
  view.addEventListener("change", draw);
  find("perpage").addEventListener("change", () => { page = 0; draw(); });
  let typing = 0;
  find("search").addEventListener("input", () => {
    clearTimeout(typing);
    typing = setTimeout(update, 150);
  });
  find("condition").addEventListener("submit", (event) => {
    event.preventDefault();
    const empty = operator.value.endsWith("empty");
    if (!empty && operand.value.trim() === "") return;
    conditions.push({
      column: column.value, operator: operator.value, operand: empty ? "" : operand.value.trim(),
    });
    operand.value = "";
    update();
  });
  for (const pager of document.querySelectorAll(".pager")) {
    pager.querySelector(".first").addEventListener("click", () => turn(0));
    pager.querySelector(".last").addEventListener("click", () => turn(Infinity));
    pager.querySelector(".back").addEventListener("click", () => turn(page - 1));
    pager.querySelector(".next").addEventListener("click", () => turn(page + 1));
    const input = pager.querySelector("input");
    input.addEventListener("change", () => turn(Number(input.value) - 1));
  }
  if (part) view.value = "table";
  return { rows: () => rows, filter, update };
})();

document.addEventListener("click", (event) => {
  const opener = event.target.closest("[data-open]");
  if (opener !== null) ulsReport.details.open(Number(opener.dataset.open));
  const shower = event.target.closest("[data-filter]");
  if (shower !== null) ulsReport.list.filter(JSON.parse(shower.dataset.filter));
});

for (const holder of document.querySelectorAll(".picture[data-row]")) lazy.observe(holder);
window.addEventListener("beforeprint", () => {
  for (const holder of document.querySelectorAll(".picture[data-row]")) load(holder);
});

(() => {
  const button = document.getElementById("theme");
  const themes = ["auto", "light", "dark"];
  // A page opened from disk may have no storage.
  const stored = (() => { try { return localStorage.getItem("uls-theme"); } catch { return null; } })();
  let theme = themes.includes(stored) ? stored : "auto";
  const apply = () => {
    document.documentElement.dataset.theme = theme;
    button.textContent = `theme: ${theme}`;
  };
  button.addEventListener("click", () => {
    theme = themes[(themes.indexOf(theme) + 1) % themes.length];
    try { localStorage.setItem("uls-theme", theme); } catch { /* nothing is kept */ }
    apply();
  });
  apply();
})();

// Where all rows lie on pages of their own: which of them may have a case or VOI.
(() => {
  const form = document.getElementById("find");
  if (form === null) return;
  form.addEventListener("submit", (event) => {
    event.preventDefault();
    const wanted = document.getElementById("wanted").value.trim();
    // The name of a VOI begins with that of its case.
    const within = ([first, last]) => first <= wanted && (wanted <= last || wanted.startsWith(last));
    const hits = ulsReport.data.parts.filter((part) => Object.values(part.cases).some(within));
    const links = hits.map(({ path }) =>
      make("a", { href: `${path}#${encodeURIComponent(wanted)}` }, path.split("/").pop(), " "));
    document.getElementById("found").replaceChildren(...(hits.length ? links : ["on no page"]));
    if (hits.length === 1) links[0].click();
  });
})();

(() => {
  const wanted = ulsReport.data.part ? decodeURIComponent(location.hash.slice(1)) : "";
  if (wanted === "") return ulsReport.list.update();
  const columns = ["voi_id", "case_id"];
  const rows = [...Array(ulsReport.count).keys()];
  const column = columns.find((name) =>
    rows.some((row) => (ulsReport.value(name, row) ?? "").includes(wanted))) ?? "case_id";
  ulsReport.list.filter([{ column, operator: "contains", operand: wanted }]);
})();
