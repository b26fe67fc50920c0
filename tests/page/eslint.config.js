import js from "@eslint/js";
import globals from "globals";

export default [
  { ignores: ["**/vendor/"] },
  js.configs.recommended,
  {
    languageOptions: { globals: { ...globals.browser, uPlot: "readonly" } },
    linterOptions: { reportUnusedDisableDirectives: "error" },
  },
];
