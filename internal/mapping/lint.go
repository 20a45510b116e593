package mapping

import (
	"context"
	"fmt"
	"regexp"
	"slices"
	"strings"

	"github.com/jackc/pgx/v5"

	"github.com/oncesink/oncesink/internal/catalog"
	"github.com/oncesink/oncesink/internal/pgname"
	"github.com/oncesink/oncesink/internal/source"
	"github.com/oncesink/oncesink/internal/tables"
	"github.com/oncesink/oncesink/sink"
)

// The codes of findings.
const (
	volatileDefault   = "volatile-default"
	sequenceDefault   = "sequence-default"
	triggerWrites     = "trigger-writes"
	triggerBefore     = "trigger-before-insert"
	unloggedTable     = "unlogged"
	cascadeOut        = "cascade-to"
	cascadeIn         = "cascade-from"
	nullableVersion   = "nullable-version"
	keyOrder          = "key-order"
	furtherUnique     = "further-unique"
	rowSecurity       = "row-security"
	tombstonesUnnamed = "tombstones-unnamed"
	noGuard           = "no-guard"
	foreignKeyCycle   = "foreign-key-cycle"
	foreignKeyWait    = "foreign-key-wait"
	superuser         = "superuser"
	tableOwner        = "table-owner"
	versionResets     = "version-resets"
	staleRows         = "stale-rows"
	addRefused        = "add-refused"
	chunksDropped     = "chunks-dropped"
)

// LintCodes lists the codes that findings may have.
func LintCodes() []string {
	return []string{volatileDefault, sequenceDefault, triggerWrites, triggerBefore, unloggedTable, cascadeOut, cascadeIn,
		nullableVersion, keyOrder, furtherUnique, rowSecurity, tombstonesUnnamed, noGuard, foreignKeyCycle, foreignKeyWait, superuser, tableOwner,
		versionResets, staleRows, addRefused, chunksDropped}
}

var (
	// clock is a default that tells the time at which a row is written.
	clock     = regexp.MustCompile(`(?i)^((now|transaction_timestamp|statement_timestamp|clock_timestamp)\(\)|CURRENT_TIMESTAMP|LOCALTIMESTAMP|CURRENT_DATE)(\(\d\))?$`)
	sequences = regexp.MustCompile(`(?i)\bnextval\(`)
	// writes are words by which a trigger's function does more than change its row.
	writes = regexp.MustCompile(`(?i)\b(insert\s+into|update\s+(only\s+)?\S+\s+((as\s+)?\S+\s+)?set|delete\s+from|merge\s+into|truncate|nextval|setval|notify|pg_notify|dblink\w*|copy|execute)\b`)
	// varying has what differs from one run to the next.
	varying = regexp.MustCompile(`(?i)\b(now|clock_timestamp|statement_timestamp|transaction_timestamp|current_timestamp|current_date|localtimestamp|random|gen_random_uuid|nextval|pg_backend_pid|current_user|session_user)\b`)
)

// Lint finds what keeps the same events from giving the same rows, and a role that may do more than it has to, for each table of the
// mapping. Stages have none.
func Lint(ctx context.Context, tx pgx.Tx, m *Mapping) ([][]tables.Finding, error) {
	found := make([][]tables.Finding, len(m.Tables))
	role, err := catalog.ReadRole(ctx, tx)
	if err != nil {
		return nil, err
	}
	for i, t := range m.Tables {
		if t.Stage != nil {
			continue
		}
		effects, err := catalog.ReadEffects(ctx, tx, t.OID)
		if err != nil {
			return nil, fmt.Errorf("read table %s: %w", t.Title(), err)
		}
		add := adder(t, &found[i])
		m.lintTable(t, m.relations[i], effects, add)
		m.lintRole(t, role, effects.Owned, add)
	}
	return found, nil
}

// adder adds findings of a table that its entry does not accept.
func adder(t *tables.Table, found *[]tables.Finding) addFinding {
	return func(code string, severity tables.Severity, object, why, fix, problem string, args ...any) {
		if slices.Contains(t.Config.Accept, code) || object != "" && slices.Contains(t.Config.Accept, code+":"+object) {
			return
		}
		*found = append(*found, tables.Finding{Code: code, Severity: severity, Object: object, Problem: fmt.Sprintf(problem, args...), Why: why, Fix: fix})
	}
}

// lintRole looks at what the role may do that nobody has granted it. A superuser is told of once, with the first table, unless one of
// them accepts it.
func (m *Mapping) lintRole(t *tables.Table, role catalog.Role, owned bool, add addFinding) {
	const fix = "run as a role that was granted what `oncesink init --print --role ROLE` says, and keep this one for init"
	accepted := func(t *tables.Table) bool { return slices.Contains(t.Config.Accept, superuser) }
	switch {
	case role.Superuser:
		if t == m.Tables[0] && !slices.ContainsFunc(m.Tables, accepted) {
			add(superuser, tables.Surprises, "", "no privilege and no policy holds for it: a wrong name in the configuration writes any table, and who has its password has the server", fix, "the role %s is a superuser", role.Name)
		}
	case t.NewFields == sink.AddNewFields && !owned:
		add(addRefused, tables.Surprises, "", "where an event has a new field its partition waits until somebody else has added a column", fmt.Sprintf("grant %s to %s, or hold", t.Owner, pgname.Readable(role.Name)),
			"new_fields is add, and the role %s may not alter the table", role.Name)
	case owned && t.NewFields != sink.AddNewFields:
		add(tableOwner, tables.Surprises, "", "it may alter and drop the table, and policies do not hold for it unless they are forced: nothing that is revoked keeps it from writing", fix, "the role %s owns the table", role.Name)
	}
}

func (m *Mapping) lintTable(t *tables.Table, r *catalog.Relation, effects catalog.Effects, add addFinding) {
	lintColumns(t, r, add)
	lintEvents(t, add)
	lintTriggers(effects.Triggers, add)
	m.lintForeignKeys(t, effects.ForeignKeys, add)
	m.lintReferences(t, add)
	if r.Persistence == "u" {
		add(unloggedTable, tables.Changes, "", "a crash of PostgreSQL empties it while the position stays", "alter table "+t.Quoted()+" set logged", "it is unlogged")
	}
	if e := effects.Retention; e != nil {
		after := ""
		if e.After != "" {
			after = " that are older than " + e.After
		}
		const back = "the events of its rows stay in the topic: a replay or a rebuild writes them again, and until the policy runs next they are there; verify tells them as missing"
		if effects.RolledUp {
			add(chunksDropped, tables.Changes, "", "no trigger fires for rows that go with their chunk: a rollup counts them on, and after a replay twice. And "+back,
				"aggregate by a continuous aggregate of TimescaleDB in place of the rollup, or drop the policy", "job %d of TimescaleDB drops chunks%s", e.Job, after)
		} else {
			add(chunksDropped, tables.Surprises, "", back, "keep the topic no longer than the rows, or accept it", "job %d of TimescaleDB drops chunks%s", e.Job, after)
		}
	}
	if len(t.Others) > 0 {
		others := strings.Join(t.Others, " and ")
		if t.Strategy == sink.Upsert {
			add(furtherUnique, tables.Changes, "", "of two rows that claim the same value the first one keeps it, and the event of the other is a dead letter; when the first has given it up by the time of a replay, that event is written after all. "+
				"To keep to that order the table is written one record at a time, too, which is slow", "drop it, or make it the key; or accept it, if events never claim what another row has", "it has %s besides the key", others)
		} else {
			add(furtherUnique, tables.Surprises, "", "of two events that claim the same value the first one to be read is kept and the other is a dead letter: from several partitions that is now this one, now that one",
				"drop it, or accept it, if events of the same value are in one partition", "it has %s", others)
		}
	}
	if r.RowSecurity {
		add(rowSecurity, tables.Surprises, "", "a policy can refuse or hide rows, and keeps COPY from being used", "see that the role has policies for insert, update and select", "it has row level security")
	}
	if t.Strategy == sink.Upsert && len(t.RecordKey) == 0 && !t.IgnoreTombstones {
		add(tombstonesUnnamed, tables.Surprises, "", "nothing says which row a tombstone names", "say so under record_key, or set tombstones: ignore", "a tombstone becomes a dead letter")
	}
	if !t.Guarded {
		add(noGuard, tables.Surprises, "", "nothing in a row tells which event wrote it, so a replay could not leave it as it is, and is refused", "leave guard out, if the table can have two more columns",
			"guard: none: exactly once as long as nothing is replayed")
	}
}

type addFinding func(code string, severity tables.Severity, object, why, fix, problem string, args ...any)

func lintColumns(t *tables.Table, r *catalog.Relation, add addFinding) {
	for i := range r.Columns {
		c := &r.Columns[i]
		if c.Generated || tables.IsEngine(c.Name) || !c.VolatileDefault {
			continue
		}
		code, why := volatileDefault, "each load gives it another value: a rebuild, a row that is put back, the same topic read into another database"
		fix := "map it from $timestamp or a field; instead of chance compute a hash of the key, such as hashtextextended(order_id::text, 7); or drop the default"
		_, named := t.Config.Columns[c.Name]
		if clock.MatchString(c.DefaultExpr) && !named {
			from := c.Name + ": $timestamp"
			if c.DefaultExpr == "CURRENT_DATE" {
				from = c.Name + ": {from: $timestamp, zone: UTC}"
			}
			fix = "take the record's own time: columns: {" + from + "}; or, if the time of loading is meant, accept: [" + volatileDefault + ":" + c.Name + "]; or drop the default"
		}
		if c.Identity != "" || sequences.MatchString(c.DefaultExpr) {
			code, why = sequenceDefault, "numbers are drawn in the order of arrival, and a batch that is tried again draws more: each load gives other ones"
			fix = "use a key of the event, or drop the default"
		}
		switch {
		case named && everThere(t, c.Name):
		case t.IsKey(t.Index(c.Name)) || t.Index(c.Name) == t.Version: // an event without it is a dead letter
		case named:
			add(code, tables.Surprises, c.Name, "where an event lacks what the column is mapped from, "+why, fix, "column %s has default %s", c.Name, c.DefaultExpr)
		default:
			add(code, tables.Changes, c.Name, why, fix+"; or, if events have a field of its name, say so: columns: {"+c.Name+": "+c.Name+"}",
				"column %s has default %s, and the mapping does not name it", c.Name, c.DefaultExpr)
		}
	}
	if t.Version >= 0 && !r.Column(t.Columns[t.Version].Name).NotNull {
		name := t.Columns[t.Version].Name
		add(nullableVersion, tables.Surprises, name, "an event without it is a dead letter, and a row in which someone sets it to null loses to any event, however old",
			fmt.Sprintf("alter table %s alter column %s set not null", t.Quoted(), pgname.Quote(name)), "version column %s may be null", name)
	}
	byRecordKey := len(t.RecordKey) > 0 || !slices.ContainsFunc(t.Key, func(k int) bool {
		return t.Columns[k].Source.Meta != source.Key && t.Columns[k].Source.Meta != source.KeyJSON
	})
	if t.Strategy == sink.Upsert && t.Version < 0 && !byRecordKey {
		add(keyOrder, tables.Surprises, "", "if events of one row come from several partitions, the highest offset wins, which need not be the last one sent",
			"name a version; or, if records are keyed by the table's key, say so under record_key", "nothing says that events of one row are in one partition")
	}
}

// everThere reports whether a column gets a value of every record, or null: its default then never counts.
func everThere(t *tables.Table, column string) bool {
	if i := t.Index(column); i >= 0 {
		if t.Columns[i].Instead.Absent {
			return true
		}
		switch t.Columns[i].Source.Meta {
		case source.Topic, source.Partition, source.Offset, source.Timestamp:
			return true
		}
	}
	return false
}

func lintTriggers(triggers []catalog.Trigger, add addFinding) {
	for _, g := range triggers {
		readable := g.Language == "plpgsql" || g.Language == "sql"
		const fix = "do in the mapping, in a generated column or in a rollup what it does; or drop it"
		switch {
		case writes.MatchString(g.Source):
			add(triggerWrites, tables.Changes, g.Name, "it runs for each write, so what it adds elsewhere is added again by a rebuild, and a replay into an empty table adds it twice",
				fix, "trigger %s writes: %s", g.Name, strings.Join(strings.Fields(writes.FindString(g.Source)), " "))
		case g.Before && varying.MatchString(g.Source):
			add(triggerWrites, tables.Changes, g.Name, "what it puts into the row differs from one load to the next", fix, "trigger %s uses %s", g.Name, varying.FindString(g.Source))
		case !readable:
			add(triggerWrites, tables.Surprises, g.Name, "it may write, or use the clock, which a replay would repeat", "see what it does, and accept it", "trigger %s is in language %s", g.Name, g.Language)
		case g.Before && g.Insert && g.Row:
			add(triggerBefore, tables.Surprises, g.Name, "an upsert fires it also where the row exists, or the event loses", "see that it does no harm then, and accept it", "trigger %s fires before insert", g.Name)
		}
	}
}

func (m *Mapping) lintForeignKeys(t *tables.Table, keys []catalog.ForeignKey, add addFinding) {
	for _, k := range keys {
		own := slices.ContainsFunc(m.Tables, func(o *tables.Table) bool {
			return o.Parent == t && k.Incoming && o.Title() == k.Other || t.Parent == o && !k.Incoming && o.Title() == k.Other
		})
		switch {
		case own:
		case k.Incoming:
			severity := tables.Surprises
			if k.Deletes && t.Deletes {
				severity = tables.Changes
			}
			add(cascadeOut, severity, k.Name, "when an event or a rebuild deletes a row, rows of "+k.Other+" change with it, and reading this topic again does not bring them back",
				"let the foreign key restrict, or be deferrable and without action; or make "+k.Other+" a table of children", "%s of %s changes that table %s", k.Name, k.Other, k.Actions)
		default:
			severity := tables.Surprises
			if k.Deletes {
				severity = tables.Changes
			}
			add(cascadeIn, severity, k.Name, "rows go, or change, with a row of "+k.Other+" while their events stay: a replay brings back those that went, or finds no parent, and leaves as they are those that changed",
				"let the foreign key restrict, or be without action", "%s changes rows of this table %s", k.Name, k.Actions)
		}
	}
}

// lintReferences looks at foreign keys to tables that the sink writes as well. Within a transaction the referenced
// ones are written first; that does not help where they refer to each other, or come from other topics.
func (m *Mapping) lintReferences(t *tables.Table, add addFinding) {
	mine := slices.Index(m.Tables, t)
	for _, e := range m.edges {
		i := m.indexOf(e.To)
		if e.From != t.OID || i < 0 || e.Deferrable || t.Parent == m.Tables[i] {
			continue
		}
		o, fix := m.Tables[i], fmt.Sprintf("alter table %s alter constraint %s deferrable", t.Quoted(), pgname.Quote(e.Name))
		shared := slices.ContainsFunc(t.Topics, func(topic string) bool { return slices.Contains(o.Topics, topic) })
		elsewhere := slices.ContainsFunc(t.Topics, func(topic string) bool { return !slices.Contains(o.Topics, topic) })
		switch {
		case o == t:
			add(foreignKeyCycle, tables.Surprises, e.Name, "where a row needs another one of its batch the batch is written record by record, which is slow; a row that comes before the one that it refers to waits for it as long as foreign_key_wait says, "+
				"and is a dead letter then", fix, "%s refers to the table itself, and can't be deferred", e.Name)
		case shared && mine < i && m.leads(e.To, t.OID):
			add(foreignKeyCycle, tables.Changes, e.Name, "whichever is written first, an event that brings both rows is a dead letter, unless the other row is there already: then a replay writes it",
				fix, "%s refers to %s, which refers back to this table, and can't be deferred", e.Name, e.ToName)
		case elsewhere:
			add(foreignKeyWait, tables.Surprises, e.Name, "a row that comes before its parent waits for it, and its partition with it, as long as foreign_key_wait says; it is a dead letter then",
				"see that foreign_key_wait covers how far one topic is behind the other; or drop the foreign key", "%s refers to %s, whose rows come from %s", e.Name, e.ToName, strings.Join(o.Topics, ", "))
		}
	}
}

// leads reports whether one table refers to another one, by way of tables that the sink writes.
func (m *Mapping) leads(from, to uint32) bool {
	done, open := map[uint32]bool{}, []uint32{from}
	for len(open) > 0 {
		at := open[0]
		open = open[1:]
		if at == to {
			return true
		}
		if done[at] || m.indexOf(at) < 0 {
			continue
		}
		done[at] = true
		for _, e := range m.edges {
			if e.From == at {
				open = append(open, e.To)
			}
		}
	}
	return false
}
