// The rules of a password, shown as they are met; identity has the last word (its list of common ones is long).
const COMMON = /^(pass(word)?|parola|sifre|şifre|qwerty\w*|asdf\w*|admin|welcome|letmein|iloveyou|galatasaray|fenerbahce|besiktas|[a-zçğıöşü]{0,4})[\d\W_]*$/i;

for (const input of document.querySelectorAll("input[data-rules]")) {
  const rules = document.getElementById(input.dataset.rules);
  const form = input.form;
  const words = () => {
    const mail = (form.elements.email?.value || input.dataset.email || "").toLowerCase();
    const [local, domain = ""] = mail.split("@");
    return [mail, local, domain, domain.split(".")[0], form.elements.name?.value, form.elements.company_name?.value]
      .filter(Boolean)
      .flatMap((word) => [word.toLowerCase().trim(), word.toLowerCase().replaceAll(" ", "")]);
  };
  const check = () => {
    const typed = input.value;
    const least = Number(input.minLength);
    const met = {
      length: [...typed].length >= least,
      own: typed !== "" && !words().includes(typed.toLowerCase().trim()),
      common: typed !== "" && !COMMON.test(typed) && new Set(typed).size > 4,
    };
    for (const rule of rules.children) {
      const is = met[rule.dataset.rule];
      rule.classList.toggle("met", is);
      rule.querySelector("[data-said]").textContent = is ? rules.dataset.met : rules.dataset.unmet;
    }
  };
  form.addEventListener("input", check);
  check();
}

// The eye in a password field.
document.addEventListener("click", (event) => {
  const eye = event.target.closest(".secret button");
  if (!eye) return;
  const input = eye.parentElement.querySelector("input");
  const shown = input.type === "text";
  input.type = shown ? "password" : "text";
  eye.setAttribute("aria-pressed", String(!shown));
});
for (const eye of document.querySelectorAll(".secret button")) eye.hidden = false;

const zone = document.querySelector("input[name=timezone][data-guess]");
if (zone) zone.value = Intl.DateTimeFormat().resolvedOptions().timeZone || zone.value;
