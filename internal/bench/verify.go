package main

import (
	"context"
	"crypto/md5"
	"encoding/binary"
	"fmt"
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
func expected(shape shape, loads ...load) sums {
	var versions []int // by id, plus one
	for _, l := range loads {
		for _, e := range l.events {
			if missing := int(e.id) + 1 - len(versions); missing > 0 {
				versions = append(versions, make([]int, missing)...)
			}
			versions[e.id] = max(versions[e.id], e.version+1)
		}
	}
	var s sums
	var total, carry uint64 // of 128 bits
	var v []string
	for id, version := range versions {
		if version == 0 {
			continue
		}
		e := event{int64(id), version - 1}
		v = e.values(shape, v)
		s.rows++
		units, _ := strconv.ParseInt(strings.Replace(v[3], ".", "", 1), 10, 64)
		s.cents += units
		v[7], v[8] = strconv.FormatInt(e.placed().UnixMicro(), 10), strconv.FormatInt(e.updated().UnixMicro(), 10)
		sum := md5.Sum([]byte(strings.Join(v, "|")))
		if bits := binary.BigEndian.Uint64(sum[:]) >> 4; total+bits < total {
			total, carry = total+bits, carry+1
		} else {
			total += bits
		}
	}
	s.hash = fmt.Sprintf("%d*2^64+%d", carry, total)
	return s
}

// verify compares all columns of the table with the topics that were read into it.
func verify(ctx context.Context, conn *pgx.Conn, shape shape, loads ...load) error {
	columns := shape.columns()
	for i, c := range columns {
		if strings.HasSuffix(c, "_at") {
			columns[i] = "(extract(epoch from " + c + ") * 1000000)::bigint"
		}
	}
	var got sums
	var high, low string
	err := conn.QueryRow(ctx, fmt.Sprintf(`
		select count(*), (sum(amount) * 100)::bigint, div(sum(h), 18446744073709551616)::text, mod(sum(h), 18446744073709551616)::text
		  from (select amount, ('x' || left(md5(concat_ws('|', %s)), 15))::bit(60)::bigint::numeric as h from orders) x`, strings.Join(columns, ", "))).
		Scan(&got.rows, &got.cents, &high, &low)
	if err != nil {
		return fmt.Errorf("verify: %w", err)
	}
	got.hash = high + "*2^64+" + low
	if want := expected(shape, loads...); got != want {
		return fmt.Errorf("verify: the table has %+v, the topics %+v", got, want)
	}
	return nil
}
