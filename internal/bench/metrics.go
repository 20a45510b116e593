package main

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"slices"
	"time"
)

const (
	withMetrics    = "metrics, scraped each second"
	withoutMetrics = "no admin listener"
)

// pair is the plan of -metrics: the same loads with metrics and without, one right after the other, and the other way round in every second
// round.
func (p plan) pair(b *bench, round int, first, again topic) []step {
	out := []step{
		{name: withMetrics, run: func(ctx context.Context) ([]result, error) { return b.scraped(ctx, p.limits, first, again) }},
		{name: withoutMetrics, run: func(ctx context.Context) ([]result, error) {
			return b.oncesink(ctx, withoutMetrics, options{limits: p.limits, admin: "off"}, true, first, again)
		}},
	}
	if round%2 == 0 {
		slices.Reverse(out)
	}
	return out
}

// scraped runs with an admin listener, whose metrics are asked for each second.
func (b *bench) scraped(ctx context.Context, limits string, topics ...topic) ([]result, error) {
	free, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	address := free.Addr().String()
	if err := free.Close(); err != nil {
		return nil, err
	}
	scraping, stop := context.WithCancel(ctx)
	scrapes := make(chan int)
	go func() { scrapes <- scrape(scraping, "http://"+address+"/metrics") }()
	rs, err := b.oncesink(ctx, withMetrics, options{limits: limits, admin: address}, true, topics...)
	stop()
	if n := <-scrapes; n == 0 && err == nil {
		err = fmt.Errorf("nobody answered at %s: nothing was measured", address)
	}
	return rs, err
}

// scrape asks each second until ctx ends, and returns how often it was answered.
func scrape(ctx context.Context, url string) (answered int) {
	tick := time.NewTicker(time.Second)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return answered
		case <-tick.C:
		}
		r, err := http.NewRequestWithContext(ctx, http.MethodGet, url, http.NoBody)
		if err != nil {
			return answered
		}
		answer, err := http.DefaultClient.Do(r)
		if err != nil {
			continue // it starts, or has ended
		}
		if _, err := io.Copy(io.Discard, answer.Body); err == nil && answer.StatusCode == http.StatusOK {
			answered++
		}
		answer.Body.Close()
	}
}

// ratios prints the throughput with metrics, as a share of that without: of each pair, and their median.
func ratios(all []result) {
	of := func(variant, load string) (rates []float64) {
		for _, r := range all {
			if r.Variant == variant && r.Load == load {
				rates = append(rates, r.rate())
			}
		}
		return rates
	}
	var loads []string
	for _, r := range all {
		if !slices.Contains(loads, r.Load) {
			loads = append(loads, r.Load)
		}
	}
	for _, load := range loads {
		with, without := of(withMetrics, load), of(withoutMetrics, load)
		var shares []float64
		for i := range min(len(with), len(without)) {
			shares = append(shares, with[i]/without[i])
		}
		slices.Sort(shares)
		if n := len(shares); n > 0 {
			say("%s: with metrics %.3f of the rate without (median of %d pairs; %.3f to %.3f)", load, shares[n/2], n, shares[0], shares[n-1])
		}
	}
}
