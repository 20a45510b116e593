package main

import (
	"context"
	"crypto/md5"
	"encoding/hex"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"

	"github.com/jackc/pgx/v5"
)

// sums are what a table adds up to: the same for equal rows, in any order.
type sums struct {
	rows  int64
	cents int64
	hash  string // of 60 bits for each row, added up
}

// expected adds up what the loads leave in a table, applied one after the other.
func expected(loads ...load) sums {
	last := map[int64]int{}
	for _, l := range loads {
		for _, e := range l.events {
			last[e.id] = max(last[e.id], e.version)
		}
	}
	var s sums
	var total, carry uint64 // of 128 bits
	var v []string
	for _, id := range slices.Sorted(maps.Keys(last)) {
		e := event{id, last[id]}
		v = e.values(narrow, v)
		s.rows++
		units, _ := strconv.ParseInt(strings.Replace(v[3], ".", "", 1), 10, 64)
		s.cents += units
		sum := md5.Sum([]byte(strings.Join([]string{v[0], v[1], v[2], v[3], v[4], v[5], v[6], strconv.FormatInt(e.updated().UnixMicro(), 10)}, "|")))
		bits, _ := strconv.ParseUint(hex.EncodeToString(sum[:])[:15], 16, 64)
		if total += bits; total < bits {
			carry++
		}
	}
	s.hash = fmt.Sprintf("%d*2^64+%d", carry, total)
	return s
}

// verify compares a table with the topics that were read into it.
func verify(ctx context.Context, conn *pgx.Conn, table string, loads ...load) error {
	var got sums
	var high, low string
	err := conn.QueryRow(ctx, fmt.Sprintf(`
		select count(*), (sum(amount) * 100)::bigint, div(sum(h), 18446744073709551616)::text, mod(sum(h), 18446744073709551616)::text
		  from (select amount, ('x' || left(md5(concat_ws('|', order_id, customer_id, status, amount, currency, country, note,
		               (extract(epoch from updated_at) * 1000000)::bigint)), 15))::bit(60)::bigint::numeric as h
		          from %s) x`, table)).Scan(&got.rows, &got.cents, &high, &low)
	if err != nil {
		return fmt.Errorf("verify %s: %w", table, err)
	}
	got.hash = high + "*2^64+" + low
	if want := expected(loads...); got != want {
		return fmt.Errorf("verify %s: the table has %+v, the topics %+v", table, got, want)
	}
	return nil
}
