// A first name for a workspace, to keep or to type over. Plain ASCII, so that it reads the same everywhere.
const FIRST = {
  en: "bright calm swift quiet clever sunny brisk gentle bold merry amber silver".split(" "),
  tr: "mavi sakin parlak serin deniz bahar ulu yeni yalin kuzey altin mor".split(" "),
};
const SECOND = {
  en: "otter falcon maple harbor comet meadow lantern pine river robin cedar fox".split(" "),
  tr: "turna ceylan meltem pinar yildiz kaya irmak defne nergis atlas lodos mimoza".split(" "),
};
const pick = (words) => words[Math.floor(Math.random() * words.length)];
const name = document.querySelector("input[data-suggest]");
const language = document.documentElement.lang === "tr" ? "tr" : "en";
const suggest = () => {
  name.value = `${pick(FIRST[language])}-${pick(SECOND[language])}`;
};
if (!name.value) {
  suggest();
  name.select();
}
const another = document.querySelector("[data-another]");
another.hidden = false;
another.addEventListener("click", suggest);
