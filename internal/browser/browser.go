// Package browser tests the page in a real browser: a headless Chromium. It is a module of its own, so that nobody who uses oncesink as a library
// gets what drives the browser.
package browser
