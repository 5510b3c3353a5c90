// Further rows of the filter builder, the comparisons that fit a field, and the values that there are. With one row the form works without this.

// The values of a field, asked for once and offered to every row of it.
async function offer(form, field) {
  const list = document.createElement("datalist");
  list.id = `values-${field}`;
  form.append(list);
  try {
    const answer = await fetch(`/filter-values/${encodeURIComponent(field)}`, { headers: { accept: "application/json" } });
    if (!answer.ok) return;
    for (const value of await answer.json()) {
      const option = document.createElement("option");
      option.value = value;
      list.append(option);
    }
  } catch {
    // Any value can be typed all the same.
  }
}

function fitOperators(row) {
  const { form: kind } = row.querySelector("[name=field]").selectedOptions[0].dataset;
  const operators = row.querySelector("[name=operator]");
  for (const option of operators.options) {
    const fits = !kind || option.dataset.forms.split(" ").includes(kind);
    option.hidden = option.disabled = !fits;
  }
  if (operators.selectedOptions[0]?.disabled ?? true) {
    operators.value = [...operators.options].find((option) => !option.disabled).value;
  }
}

function fitValue(row) {
  const field = row.querySelector("[name=field]").selectedOptions[0];
  const value = row.querySelector("[name=value]");
  const isUnary = row.querySelector("[name=operator]").selectedOptions[0].dataset.unary === "yes";
  const kind = field.dataset.form;
  value.closest("label").hidden = isUnary;
  value.type = kind === "date" ? "date" : "text";
  value.inputMode = kind === "number" ? "decimal" : "";
  if (field.dataset.listed === "yes") {
    if (!document.getElementById(`values-${field.value}`)) offer(value.form, field.value);
    value.setAttribute("list", `values-${field.value}`);
  } else {
    value.removeAttribute("list");
  }
}

function fit(row) {
  fitOperators(row);
  fitValue(row);
}

export function helpWithFilters() {
  const form = document.querySelector("form.builder");
  if (!form) return;
  const conditions = form.querySelector(".conditions");
  const further = form.querySelector("button.further");
  further.hidden = false;
  further.addEventListener("click", () => {
    const row = conditions.lastElementChild.cloneNode(true);
    row.querySelector("[name=field]").value = "";
    row.querySelector("[name=value]").value = "";
    conditions.append(row);
    fit(row);
    form.querySelector("[name=logic]").closest("label").hidden = false;
    row.querySelector("[name=field]").focus();
  });
  form.addEventListener("change", (event) => {
    const row = event.target.closest(".condition");
    if (row) fit(row);
  });
  for (const row of conditions.children) fit(row);
}
