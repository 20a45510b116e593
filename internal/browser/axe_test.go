package browser

import (
	"os"
	"path/filepath"
	"strings"

	"github.com/chromedp/chromedp"
)

// axeFile is axe-core's script in the cache of the tests, where scripts/setup-tests keeps it.
const axeFile = "oncesink/axe-core-4.14.1.min.js"

// axeRun has axe-core look at the page by the rules of WCAG 2.2, levels A and AA, and what is good practice. It loads nothing: the policy of the page
// would not let it.
const axeRun = `window.axeFound = undefined;
axe.run(document, {preload: false, resultTypes: ["violations"], runOnly: ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"]}).then(
  (r) => { window.axeFound = r.passes.length < 10 ? "only " + r.passes.length + " rules were met" :
    r.violations.map((v) => v.id + ": " + v.help + ": " + v.nodes.map((n) => n.target.join(" ")).join(", ")).join("\n"); },
  (e) => { window.axeFound = "it fails: " + e; });`

// usable wants nothing on the page that keeps people from using it, as far as axe-core can tell.
func (x *tab) usable(what string) {
	x.Helper()
	cache, err := os.UserCacheDir()
	if err != nil {
		x.Fatal(err)
	}
	script, err := os.ReadFile(filepath.Join(cache, filepath.FromSlash(axeFile)))
	if err != nil {
		x.Fatalf("%v: ONCESINK_TEST_LONG=1 scripts/setup-tests fetches it, with npm", err)
	}
	x.do(chromedp.Evaluate[chromedp.Void](strings.TrimSpace(string(script)) + "; undefined"))
	x.do(chromedp.Evaluate[chromedp.Void](axeRun + " undefined"))
	x.eventually("window.axeFound !== undefined")
	if found := x.text("window.axeFound"); found != "" {
		x.Errorf("%s: axe-core finds\n%s", what, found)
	}
}
