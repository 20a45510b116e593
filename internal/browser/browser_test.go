package browser

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/chromedp/cdproto/emulation"
	"github.com/chromedp/chromedp"

	"github.com/oncesink/oncesink/consumer"
	"github.com/oncesink/oncesink/internal/page"
	"github.com/oncesink/oncesink/internal/testpage"
	"github.com/oncesink/oncesink/internal/testpg"
)

func TestMain(m *testing.M) { os.Exit(testpg.Main(m)) }

// tab is a page in the browser. What the console says is kept: a policy that something violates is told there.
type tab struct {
	*testing.T
	ctx context.Context

	mu  sync.Mutex
	log []string
}

// browsers is one Chromium for all tests.
func newBrowser(t *testing.T) context.Context {
	t.Helper()
	var path string
	for _, name := range []string{"chromium", "chromium-browser", "google-chrome"} {
		if found, err := exec.LookPath(name); err == nil {
			path = found
			break
		}
	}
	if path == "" {
		t.Fatal("there is no Chromium: scripts/setup-tests installs Debian's (apt-get install chromium)")
	}
	opts := append(chromedp.DefaultExecAllocatorOptions[:], chromedp.ExecPath(path), chromedp.NoSandbox, chromedp.Flag("disable-dev-shm-usage", true), chromedp.Flag("force-color-profile", "srgb"))
	ctx, cancel := chromedp.NewExecAllocator(context.Background(), opts...)
	t.Cleanup(cancel)
	ctx, cancel = chromedp.NewContext(ctx)
	t.Cleanup(cancel)
	if err := chromedp.Do(ctx); err != nil {
		t.Fatal(err)
	}
	return ctx
}

func newTab(t *testing.T, browser context.Context) *tab {
	t.Helper()
	ctx, cancel := chromedp.NewContext(browser)
	t.Cleanup(cancel)
	x := &tab{T: t, ctx: ctx}
	x.do()
	messages := chromedp.Console(ctx)
	go func() {
		for m, err := range messages {
			if err != nil {
				return
			}
			x.mu.Lock()
			x.log = append(x.log, fmt.Sprintf("%s: %s", m.Type, m.Text))
			x.mu.Unlock()
		}
	}()
	return x
}

// do runs actions within a deadline.
func (x *tab) do(steps ...chromedp.Action[chromedp.Void]) {
	x.Helper()
	if err := chromedp.Do(x.ctx); err != nil {
		x.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(x.ctx, 20*time.Second)
	defer cancel()
	if err := chromedp.Do(ctx, steps...); err != nil {
		x.Fatal(err)
	}
}

// is evaluates a condition in the page, now.
func (x *tab) is(condition string) bool {
	x.Helper()
	ctx, cancel := context.WithTimeout(x.ctx, 20*time.Second)
	defer cancel()
	v, err := chromedp.Run(ctx, chromedp.Evaluate[bool]("!!("+condition+")"))
	if err != nil {
		x.Fatalf("%s: %v", condition, err)
	}
	return v
}

func (x *tab) text(expression string) string {
	x.Helper()
	ctx, cancel := context.WithTimeout(x.ctx, 20*time.Second)
	defer cancel()
	v, err := chromedp.Run(ctx, chromedp.Evaluate[string](expression))
	if err != nil {
		x.Fatalf("%s: %v", expression, err)
	}
	return v
}

func (x *tab) want(condition string) {
	x.Helper()
	if !x.is(condition) {
		x.Errorf("it is not so: %s", condition)
	}
}

func (x *tab) eventually(condition string) {
	x.Helper()
	testpage.Eventually(x, condition, func() bool { return x.is(condition) })
}

// quiet wants nothing in the console: no violation of the policy, no error of the script.
func (x *tab) quiet() {
	x.Helper()
	x.mu.Lock()
	defer x.mu.Unlock()
	if len(x.log) > 0 {
		x.Errorf("the console says:\n%s", strings.Join(x.log, "\n"))
	}
	x.log = nil
}

func (x *tab) look(width int64, scheme string) {
	x.Helper()
	x.do(chromedp.EmulateViewport(width, 900))
	ctx, cancel := context.WithTimeout(x.ctx, 20*time.Second)
	defer cancel()
	_, err := chromedp.Call(ctx, emulation.SetEmulatedMedia, emulation.SetEmulatedMediaParams{Features: []*emulation.MediaFeature{{Name: "prefers-color-scheme", Value: scheme}}})
	if err != nil {
		x.Fatal(err)
	}
}

// shoot keeps a picture where ONCESINK_SCREENSHOTS names a directory: for a person to look at.
func (x *tab) shoot(name string) {
	x.Helper()
	dir := os.Getenv("ONCESINK_SCREENSHOTS")
	if dir == "" {
		return
	}
	ctx, cancel := context.WithTimeout(x.ctx, 30*time.Second)
	defer cancel()
	png, err := chromedp.Run(ctx, chromedp.FullScreenshot(100))
	if err == nil {
		err = os.WriteFile(filepath.Join(dir, name+".png"), png, 0o644)
	}
	if err != nil {
		x.Fatal(err)
	}
}

// narrow says that nothing sticks out at the side.
const narrow = `document.documentElement.scrollWidth <= document.documentElement.clientWidth`

// contrast finds texts that are hard to read: below 4.5 : 1 as WCAG AA wants it, 3 : 1 where they are large.
const contrast = `(() => {
  const parse = (c) => c.match(/[\d.]+/g).map(Number);
  const lum = ([r, g, b]) => { const f = (v) => (v /= 255) <= 0.03928 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4; return 0.2126 * f(r) + 0.7152 * f(g) + 0.0722 * f(b); };
  const ground = (e) => { for (; e; e = e.parentElement) { const c = parse(getComputedStyle(e).backgroundColor); if (c.length === 3 || c[3] > 0) return c; } return [255, 255, 255]; };
  const bad = new Set();
  for (const e of document.querySelectorAll("body *")) {
    if (![...e.childNodes].some((n) => n.nodeType === 3 && n.data.trim()) || !e.offsetParent) continue;
    const s = getComputedStyle(e), a = lum(parse(s.color)), b = lum(ground(e));
    const ratio = (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05);
    if (ratio < (parseFloat(s.fontSize) >= 24 ? 3 : 4.5)) bad.add(e.className + " " + e.textContent.trim().slice(0, 30) + " " + ratio.toFixed(2));
  }
  return [...bad].join("; ");
})()`

// unnamed finds what can be used and has no name for a screen reader.
const unnamed = `[...document.querySelectorAll("a, button, input:not([type=hidden]), summary, svg[role=img], table")].filter((e) => !(e.getAttribute("aria-label") || e.textContent.trim() || (e.labels && e.labels.length) || e.closest("label"))).map((e) => e.outerHTML).join("\n")`

// TestPage: a person sees what has halted and the way out; it follows by itself; sorts, folds and acts; from 400 to 1400 px, light and dark.
func TestPage(t *testing.T) {
	browser := newBrowser(t)
	t.Run("6 partitions", func(t *testing.T) { t.Parallel(); few(t, browser) })
	t.Run("1,000 partitions", func(t *testing.T) { t.Parallel(); many(t, browser) })
}

func few(t *testing.T, browser context.Context) {
	s := testpage.New(t, page.Config{Actions: true, Version: "v1.0.0", Configuration: "kafka:\n  group: orders-sink\n"}, 2+1+3, "sesame")
	x := newTab(t, browser)
	x.look(1400, "light")
	x.do(chromedp.Navigate(s.URL))
	x.shoot("login")
	x.want(`document.activeElement.id === "token"`)
	x.usable("login")
	x.mu.Lock()
	x.log = nil // the console tells of each 401
	x.mu.Unlock()
	x.do(chromedp.SendKeys(chromedp.CSS("#token"), "sesame"), chromedp.SendKeys(chromedp.CSS("#name"), "ada"), chromedp.Click(chromedp.CSS("button")), chromedp.WaitVisible(chromedp.CSS("#s-needs .need")))
	x.want(`document.querySelector("#s-needs h3").textContent.startsWith("orders/2 has halted")`)
	x.want(`[...document.querySelectorAll("#s-needs code")].some((c) => c.textContent === "oncesink accept-gap orders/2 --to 120503")`)
	x.want(`[...document.querySelectorAll("#s-needs a")].some((a) => a.href.endsWith("runbook.md#gap"))`)

	// It follows without being loaded again: what was focused stays so.
	x.eventually(`document.getElementById("live").textContent.includes("live")`)
	x.do(chromedp.Evaluate[chromedp.Void](`window.kept = document.querySelector("#s-partitions tbody tr"); document.querySelector("#s-partitions .json").focus()`))
	s.Set(0, func(p *consumer.PartitionStatus) { p.Position = 987_654_321 })
	x.eventually(`document.getElementById("p-orders/0").textContent.includes("987,654,321")`)
	x.want(`window.kept.isConnected && document.activeElement.className === "json"`)

	x.do(chromedp.Click(chromedp.CSS("th.c-lag a")))
	x.eventually(`location.search.includes("sort=lag") && document.querySelector("#s-partitions tbody tr").id === "p-orders/2"`)
	x.want(`document.querySelector("th.c-lag").getAttribute("aria-sort") === "descending" && window.kept !== undefined`)

	x.do(chromedp.Click(chromedp.CSS(`[aria-label="Pause orders/1"]`)), chromedp.WaitVisible(chromedp.CSS(".done")))
	x.want(`document.querySelector(".done").textContent.includes("paused orders/1 at 120,001, by ada at 127.0.0.1")`)
	if got := s.One(`select string_agg(topic || partition, ' ') from oncesink.offsets where paused`); got != "orders1" {
		t.Errorf("paused: %s", got)
	}
	x.quiet()

	for _, scheme := range []string{"light", "dark"} {
		for _, width := range []int64{400, 1400} {
			x.look(width, scheme)
			x.eventually(narrow)
			x.usable(fmt.Sprintf("%s, %d px", scheme, width))
			if bad := x.text(contrast); bad != "" {
				t.Errorf("%s, %d px: hard to read: %s", scheme, width, bad)
			}
			x.shoot(fmt.Sprintf("few-%s-%d", scheme, width))
		}
	}
	if bad := x.text(unnamed); bad != "" {
		t.Errorf("without a name: %s", bad)
	}
	x.do(chromedp.Click(chromedp.CSS("#s-letters tbody a")), chromedp.WaitVisible(chromedp.CSS(".letter")))
	x.look(400, "light")
	x.want(narrow)
	x.usable("dead letters")
	x.want(`document.querySelector("button.danger").textContent === "Discard all 9"`)
	x.shoot("letters")
	x.quiet()
	stranger(x, s)
}

// stranger: the form of another site's page gets nothing done, though the browser knows the token.
func stranger(x *tab, s *testpage.Scene) {
	x.Helper()
	evil := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "text/html")
		fmt.Fprintf(w, `<form id="f" method="post" action="%sactions/pause"><input name="topic" value="orders"></form>`, s.URL)
	}))
	defer evil.Close()
	x.do(chromedp.Navigate(strings.Replace(evil.URL, "127.0.0.1", "localhost", 1)))
	x.do(chromedp.Evaluate[chromedp.Void](`document.getElementById("f").submit()`))
	x.eventually(`document.readyState === "complete" && location.hostname === "127.0.0.1" && document.body.textContent.toLowerCase().includes("cross-origin")`)
	if got := s.One(`select count(*)::text from oncesink.offsets where paused`); got != "1" {
		x.Errorf("another site has paused: %s", got)
	}
}

func many(t *testing.T, browser context.Context) {
	s := testpage.New(t, page.Config{}, 1000, "")
	x := newTab(t, browser)
	x.look(1400, "light")
	x.do(chromedp.Navigate(s.URL), chromedp.WaitVisible(chromedp.CSS("#s-partitions .fold")))
	x.want(`document.querySelectorAll("#s-partitions .fold").length === 2 && document.querySelectorAll("#s-partitions tr").length === 0`)
	x.want(`document.querySelector(".foldbar").textContent.includes("1,000 partitions")`)
	x.shoot("many-folded")
	x.do(chromedp.Click(chromedp.CSS("#f-orders .foldbar")))
	x.eventually(`document.querySelectorAll("#f-orders tbody tr").length === 1000 && location.search.includes("topic=orders")`)
	x.do(chromedp.Click(chromedp.CSS("#f-orders th.c-behind a")))
	x.eventually(`document.querySelector("#f-orders tbody tr").id === "p-orders/2"`)
	x.eventually(`document.getElementById("live").textContent === "live"`)
	x.look(400, "dark")
	x.eventually(narrow)
	x.look(1400, "dark")
	x.usable("1,000 partitions")
	x.do(chromedp.NavigateBack(), chromedp.NavigateBack())
	x.eventually(`document.querySelectorAll("#f-orders tbody tr").length === 0`)
	x.quiet()
}
