package sink

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/jackc/pgx/v5"
)

// checkEntry checks what needs no catalog.
func checkEntry(cfg TableConfig, ps *problems) {
	in := "table " + cfg.Name
	checkChildren(cfg, ps)
	if len(cfg.Topics) == 0 && cfg.Strategy != Children {
		ps.add(in+" has no topic", "name the topics that feed it")
	}
	switch cfg.Strategy {
	case Upsert:
		if len(cfg.Key) == 0 {
			ps.add(in+" has no key", "name the columns of its primary key as `key:`, or use `strategy: append`")
		}
	case Append:
		if len(cfg.Key) > 0 || cfg.Version != "" || len(cfg.RecordKey) > 0 {
			ps.add(in+" appends, and has a key, version or record_key", "an event of an append table is kept by where it stood in the log: leave them out, or use `strategy: upsert`")
		}
	case Children:
	default:
		ps.add(fmt.Sprintf("%s has strategy %q", in, cfg.Strategy), `it is "upsert", "append" or "children"`)
	}
	if cfg.Guard != "" && cfg.Guard != "none" {
		ps.add(fmt.Sprintf("%s has guard %q", in, cfg.Guard), `it is "none", or left out`)
	}
	if cfg.Tombstones != "delete" && cfg.Tombstones != "ignore" {
		ps.add(fmt.Sprintf("%s has tombstones %q", in, cfg.Tombstones), `it is "delete" or "ignore"`)
	}
	if t := slices.Sorted(slices.Values(cfg.Topics)); len(slices.Compact(t)) < len(cfg.Topics) {
		ps.add(in+" names a topic twice", "name each once")
	}
}

// checkRelation reports whether rows can be written at all.
func checkRelation(r *relation, cfg *Config, stage Stage, ps *problems) bool {
	switch {
	case r.kind == "v" || r.kind == "m":
		ps.add(r.qualified()+" is a view", "name the table below it")
	case r.kind == "f" || r.foreignLeaf:
		ps.add(r.qualified()+" is, or has a partition that is, a foreign table", "rows and position can't be one transaction there: name a local table")
	case r.persistence == "t":
		ps.add(r.qualified()+" is a temporary table", "name a permanent one")
	case r.persistence == "u" && cfg.SynchronousCommit == "off":
		ps.add(r.qualified()+" is unlogged and synchronous_commit is off", "a crash would empty the table and keep the position: alter table "+r.qualified()+" set logged, or synchronous_commit: on")
	case r.rules:
		ps.add(r.qualified()+" has rewrite rules", "they change what an insert does: use triggers, or a table without rules")
	case r.schema == "oncesink" && stage == NoStage:
		ps.add(r.qualified()+" is one of the engine's own tables", "name another")
	default:
		return true
	}
	return false
}

// mapColumns decides which columns events fill: every one that is not generated
// or the engine's, from the field of its name unless the configuration says otherwise.
func (t *table) mapColumns(r *relation, cfg TableConfig, ps *problems) {
	for name := range cfg.Columns {
		switch c := r.column(name); {
		case c == nil:
			ps.add(fmt.Sprintf("table %s has no column %q", r.qualified(), name), "it has "+strings.Join(r.names(), ", "))
		case c.generated:
			ps.add(fmt.Sprintf("column %s of %s is generated", name, r.qualified()), "PostgreSQL computes it: leave it out of `columns:`")
		case isEngine(name):
			ps.add(fmt.Sprintf("column %s of %s is the engine's", name, r.qualified()), "leave it out of `columns:`")
		}
	}
	for i := range r.columns {
		rc := &r.columns[i]
		if rc.generated || isEngine(rc.name) {
			continue
		}
		c := rc.column
		from := cfg.Columns[c.name]
		var err error
		parse := parseSource
		if t.strategy == Children {
			parse = childSource
		}
		if c.source, err = parse(from.From, c.name); err != nil {
			ps.add(fmt.Sprintf("column %s of %s: %v", c.name, r.qualified(), err), "see `from:` in the documentation")
			continue
		}
		c.encoding, c.zone, c.unit = from.Encoding, from.Zone, from.Unit
		c.strict = from.Rounding == roundingRefuse || from.Rounding == "" && t.strict
		if from.SQL != "" {
			checkComputed(r.qualified(), c.name, from, ps)
		} else if err := errors.Join(c.check(), c.checkRounding(from.Rounding)); err != nil {
			ps.add(fmt.Sprintf("column %s of %s: %v", c.name, r.qualified(), err), "")
		}
		if rc.identity == "a" {
			t.identityAlways = true
		}
		if c.notNull {
			t.required = append(t.required, len(t.columns))
		}
		t.columns = append(t.columns, c)
	}
	if len(t.columns) == 0 {
		ps.add(fmt.Sprintf("table %s has no columns that an event could fill", r.qualified()), "add columns")
	}
}

func isEngine(column string) bool { return strings.HasPrefix(column, "_oncesink_") }

func (t *table) index(name string) int {
	return slices.IndexFunc(t.columns, func(c column) bool { return c.name == name })
}

// mapKey finds the unique index that decides what one row is, and the other ones.
func (t *table) mapKey(r *relation, cfg TableConfig, ps *problems) {
	want := slices.Clone(cfg.Key)
	if t.strategy == Append {
		want = []string{sourceColumn, offsetColumn}
	}
	found := t.bulk()
	for _, x := range r.indexes {
		is := sameSet(x.columns, want)
		if t.strategy == Append { // a partitioned table's index has the partition key, too
			is = subset(want, x.columns) && subset(x.columns, append(slices.Clone(want), r.partitionKey...))
		}
		if is && x.usable {
			if t.appendKey == nil && t.strategy == Append {
				t.appendKey = x.columns
			}
			found = true
		} else if !is {
			t.others = append(t.others, "unique index "+x.String())
		}
	}
	for _, x := range r.exclusions {
		t.others = append(t.others, "exclusion constraint "+x)
	}
	if t.strategy == Append {
		if !found && t.guarded && r.column(sourceColumn) != nil {
			ps.later(fmt.Sprintf("table %s has no unique index over %s and %s", r.qualified(), sourceColumn, offsetColumn), "run `oncesink init`, or set `guard: none`")
		}
		return
	}
	for _, name := range cfg.Key {
		i := t.index(name)
		if i < 0 {
			ps.add(fmt.Sprintf("key column %q of %s does not exist or is not mapped", name, r.qualified()), "the table has "+strings.Join(r.names(), ", "))
			continue
		}
		c := &t.columns[i]
		if !keyTypeSupported(c) {
			ps.add(fmt.Sprintf("key column %s of %s has type %s", name, r.qualified(), c.typ), "a key is made of integer, numeric, text, uuid, boolean, date or time columns")
		}
		if !r.column(name).deterministic {
			ps.add(fmt.Sprintf("key column %s of %s has a collation that is not deterministic", name, r.qualified()), "keys are compared byte for byte: use a deterministic collation")
		}
		t.key = append(t.key, i)
	}
	if !found && len(cfg.Key) > 0 && len(t.key) == len(cfg.Key) {
		columns := strings.Join(quoteAll(cfg.Key), ", ")
		fix := fmt.Sprintf("alter table %s add primary key (%s)", t.quoted(), columns)
		if len(r.indexes) > 0 { // one of them may be the primary key
			var have []string
			for _, x := range r.indexes {
				have = append(have, x.String())
			}
			fix = fmt.Sprintf("create unique index on %s (%s), or choose one of: %s", t.quoted(), columns, strings.Join(have, "; "))
		}
		ps.add(fmt.Sprintf("table %s has no unique index over exactly (%s)", r.qualified(), strings.Join(cfg.Key, ", ")), fix)
	}
}

func subset(a, b []string) bool {
	return !slices.ContainsFunc(a, func(s string) bool { return !slices.Contains(b, s) })
}

func sameSet(a, b []string) bool { return subset(a, b) && subset(b, a) }

func (t *table) mapVersion(r *relation, cfg TableConfig, ps *problems) {
	if cfg.Version == "" {
		return
	}
	i := t.index(cfg.Version)
	if i < 0 {
		ps.add(fmt.Sprintf("version column %q of %s does not exist or is not mapped", cfg.Version, r.qualified()), "the table has "+strings.Join(r.names(), ", "))
		return
	}
	c, rc := &t.columns[i], r.column(cfg.Version)
	switch {
	case slices.Contains(cfg.Key, cfg.Version):
		ps.add(fmt.Sprintf("version column %s of %s is part of the key", cfg.Version, r.qualified()), "a version orders the events of one key")
	case !versionTypeSupported(c):
		ps.add(fmt.Sprintf("version column %s of %s has type %s", cfg.Version, r.qualified(), c.typ), `a version is an integer, numeric, date, timestamp, or text with collation "C"`)
	case c.kind == kindText && !rc.codePointOrder:
		ps.add(fmt.Sprintf("version column %s of %s has collation %s", cfg.Version, r.qualified(), rc.collation),
			fmt.Sprintf(`alter table %s alter column %s type %s collate "C"`, r.qualified(), quote(cfg.Version), c.typ))
	}
	t.version = i
}

// mapTombstones compiles how a tombstone names its row, and finds the delete memory.
func (t *table) mapTombstones(ctx context.Context, tx pgx.Tx, cfg TableConfig, ps *problems) error {
	if len(cfg.RecordKey) == 0 {
		return nil
	}
	for name := range cfg.RecordKey {
		if !slices.Contains(cfg.Key, name) {
			ps.add(fmt.Sprintf("record_key of %s names %q", t.title(), name), "it names the key columns: "+strings.Join(cfg.Key, ", "))
		}
	}
	for _, k := range t.key {
		name := t.columns[k].name
		from, ok := cfg.RecordKey[name]
		src, err := parseSource(from, "")
		switch {
		case !ok:
			ps.add(fmt.Sprintf("record_key of %s lacks column %s", t.title(), name), `say where a tombstone's record key holds it: "$key", "$key_json" or "$key.path"`)
		case err != nil:
			ps.add(fmt.Sprintf("record_key %s of %s: %v", name, t.title(), err), `write "$key", "$key_json" or "$key.path"`)
		case src.meta != metaKey && src.meta != metaKeyJSON:
			ps.add(fmt.Sprintf("record_key %s of %s is %q", name, t.title(), from), `a tombstone has nothing but its key: write "$key", "$key_json" or "$key.path"`)
		}
		t.recordKey = append(t.recordKey, src)
	}
	if !t.guarded || t.ignoreTombstones || t.bulk() {
		return nil
	}
	m := deleteMemory(t.schema, t.name, &cfg)
	t.memory = m.quoted()
	return m.check(ctx, tx, ps)
}

// checkGuard checks the engine columns (rule 10).
func (t *table) checkGuard(r *relation, ps *problems) {
	if !t.guarded {
		return
	}
	for name, typ := range map[string]string{sourceColumn: "integer", offsetColumn: "bigint"} {
		switch c := r.column(name); {
		case c == nil:
			ps.later(fmt.Sprintf("table %s has no column %s", r.qualified(), name),
				"run `oncesink init`, or set `guard: none` (exactly once live, and no replay)")
		case c.typ != typ:
			ps.add(fmt.Sprintf("column %s of %s has type %s", name, r.qualified(), c.typ), "it must be "+typ)
		}
	}
}

func (t *table) checkPrivileges(r *relation, ps *problems) {
	if !r.schemaUsable {
		ps.later("the role lacks USAGE on schema "+r.schema, fmt.Sprintf("grant usage on schema %s to ROLE", quote(r.schema)))
	}
	need := []string{"SELECT", "INSERT"}
	if t.strategy == Upsert {
		need = append(need, "UPDATE")
		if len(t.recordKey) > 0 && !t.ignoreTombstones {
			need = append(need, "DELETE")
		}
	} else if !t.guarded {
		need = need[1:]
	}
	if t.strategy == Children {
		need = append(need, "DELETE")
	}
	var missing []string
	for _, p := range need {
		if !slices.Contains(r.missing, p) {
			continue
		}
		// Privileges on the columns do as well.
		if p == "DELETE" || slices.ContainsFunc(r.columns, func(c relationColumn) bool {
			return (t.index(c.name) >= 0 || isEngine(c.name)) && slices.Contains(c.privilegeMissing, p)
		}) {
			missing = append(missing, p)
		}
	}
	if len(missing) > 0 {
		ps.later(fmt.Sprintf("the role lacks %s on %s", strings.Join(missing, ", "), r.qualified()), grant(missing, t.quoted()))
	}
}

func grant(privileges []string, on string) string {
	return fmt.Sprintf("grant %s on %s to ROLE", strings.ToLower(strings.Join(privileges, ", ")), on)
}

func checkDeadLetters(ctx context.Context, tx pgx.Tx, ps *problems) error {
	var exists, usable, unlogged bool
	err := tx.QueryRow(ctx, `
		select count(*) > 0, coalesce(bool_or(c.relpersistence <> 'p'), false),
		       coalesce(bool_and(has_schema_privilege(n.oid, 'USAGE') and has_table_privilege(c.oid, 'INSERT') and has_table_privilege(c.oid, 'SELECT')), false)
		  from pg_class c join pg_namespace n on n.oid = c.relnamespace
		 where n.nspname = 'oncesink' and c.relname = 'dead_letters'`).Scan(&exists, &unlogged, &usable)
	if err != nil {
		return fmt.Errorf("read dead letters: %w", err)
	}
	if !exists {
		ps.add("table oncesink.dead_letters does not exist", "run `oncesink init`")
		return nil
	}
	if unlogged {
		ps.add("table oncesink.dead_letters is unlogged", "a crash would lose what is kept there (rule 21): alter table oncesink.dead_letters set logged")
	}
	if !usable {
		ps.add("the role lacks INSERT or SELECT on oncesink.dead_letters, or USAGE on schema oncesink",
			grant([]string{"SELECT", "INSERT"}, "oncesink.dead_letters")+"; grant usage on schema oncesink to ROLE")
	}
	return nil
}

func (r *relation) names() []string {
	var names []string
	for _, c := range r.columns {
		if !isEngine(c.name) {
			names = append(names, c.name)
		}
	}
	return names
}
