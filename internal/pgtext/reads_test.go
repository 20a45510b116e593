package pgtext

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"testing"
	"time"
)

// What is read beyond doubt, the column takes.
func TestReadsIsTaken(t *testing.T) {
	db := newDatabase(t, "set timezone = 'Europe/Berlin'", "set datestyle = 'ISO, MDY'", "create type mood as enum ('calm', 'tense', 'très ému')", "create domain long as numeric",
		`create function pg_temp.refused(x text, typ text) returns text language plpgsql as $$ declare v text; begin
			execute format('select r.v::text from json_to_record(json_build_object(''v'', $1)) as r(v %s)', case typ when 'json' then 'text' when 'jsonb' then 'text' else typ end) into v using x;
			if typ in ('json', 'jsonb') then execute format('select ($1::%s)::text', typ) into v using x; end if;
			return null; exception when others then return sqlstate; end $$`)
	all := maps.Clone(spellers)
	maps.Copy(all, binarySpellers)
	columns := columnsOf(t, db, all)
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	for _, name := range slices.Sorted(maps.Keys(columns)) {
		c, random := columns[name], rand.New(rand.NewPCG(seed, 0))
		var read []string
		doubted := 0
		for range 2000 {
			text := all[name](random)
			if c.Reads([]byte(text)) {
				read = append(read, text)
			} else {
				doubted++
			}
		}
		for _, text := range db.Texts(fmt.Sprintf("select distinct x from unnest($1::text[]) x where pg_temp.refused(x, '%s') is not null limit 5", c.Declared), read) {
			t.Errorf("%s: %q is read, and refused", name, *text)
		}
		if len(read) == 0 && !c.Enum {
			t.Errorf("%s: nothing is read", name)
		}
		t.Logf("%s: %d read, %d left to PostgreSQL", name, len(read), doubted)
	}
}

// What is plain is read: else the server is asked about it.
func TestReadsWhatIsPlain(t *testing.T) {
	for _, tt := range []struct {
		c    Type
		text string
		want bool
	}{
		{Type{Kind: KindInt, Base: "smallint", Typmod: -1}, "32767", true},
		{Type{Kind: KindInt, Base: "smallint", Typmod: -1}, "32768", false},
		{Type{Kind: KindInt, Base: "bigint", Typmod: -1}, "", false},
		{Type{Kind: KindNumeric, Base: "numeric", Typmod: typmodHeader + 4<<16 + 2}, "99.99", true},
		{Type{Kind: KindNumeric, Base: "numeric", Typmod: typmodHeader + 4<<16 + 2}, "99.991", false},
		{Type{Kind: KindNumeric, Base: "numeric", Typmod: typmodHeader + 4<<16 + 2}, "100", false},
		{Type{Kind: KindTimeTZ, Base: "timestamp with time zone", Typmod: 0}, "2026-01-02 03:04:05.678", true},
		{Type{Kind: KindTimeTZ, Base: "timestamp with time zone", Typmod: -1}, "2026-02-30T03:04:05Z", false},
		{Type{Kind: KindTimeTZ, Base: "time with time zone", Typmod: -1}, "03:04:05Z", false},
		{Type{Kind: KindDate, Base: "date", Typmod: -1}, "2026-13-45", false},
		{Type{Kind: kindUUID, Base: "uuid", Typmod: -1}, "abc", false},
		{Type{Kind: KindText, Base: "text", Typmod: -1}, "", true},
		{Type{Kind: KindText, Base: "text", Enum: true, Typmod: -1}, "calm", false},
		{Type{Kind: KindJSON, Base: "jsonb", Typmod: -1}, `{"a":1e400,"b":"0e12"}`, true},
		{Type{Kind: KindJSON, Base: "jsonb", Typmod: -1}, `1e999999`, false},
		{Type{Kind: KindJSON, Base: "jsonb", Typmod: -1}, `"\u0000"`, false},
		{Type{Kind: KindJSON, Base: "json", Typmod: -1}, `{`, false},
	} {
		if got := tt.c.Reads([]byte(tt.text)); got != tt.want {
			t.Errorf("%s %q: %v", tt.c.Base, tt.text, got)
		}
	}
}
