package main

// A mutation is the program without one of its guarantees.
type mutation struct {
	name, about string
	edits       []edit
	// pkg is the package whose tests, named by the expression run, are to be red.
	pkg, run string
}

// An edit replaces a text, which its file has once.
type edit struct{ file, old, new string }

var guarantees = []mutation{
	{
		name: "nofence", about: "the position alone is compared, and not the fence",
		edits: []edit{{"offsets/sql/4_stuck.sql", "and o.fence = step.fence and o.next_offset = step.expected", "and o.next_offset = step.expected"}},
		pkg:   "./offsets", run: "TestRule3ZombieIsFenced",
	},
	{
		name: "blindset", about: "the position is set, whatever it and the fence were",
		edits: []edit{{"offsets/sql/4_stuck.sql", "and o.fence = step.fence and o.next_offset = step.expected\n           and step.target > step.expected", ""}},
		pkg:   "./offsets", run: "TestAdvanceOnlyFromWhereItStood",
	},
	{
		name: "offset-after-commit", about: "the position moves in a second transaction, after the rows",
		edits: []edit{
			{"internal/engine/transaction.go", "if err := t.queueFirst(); err != nil {", "if t.again == nil {\n\t} else if err := t.queueFirst(); err != nil {"},
			{"internal/engine/transaction.go", "case err == nil:\n\t\treturn nil\n", `case err == nil && t.again == nil:
		return pgx.BeginFunc(ctx, t.conn, func(tx pgx.Tx) error { return t.s.ledger.Advance(ctx, tx, t.steps) })
	case err == nil:
		return nil
`},
		},
		pkg: "./internal/engine", run: "TestZombieWritesNothing",
	},
	{
		name: "noreread", about: "a COMMIT whose answer is lost is taken for done, and the ledger is not asked",
		edits: []edit{{"internal/engine/job.go", "if j.resolve(ctx, records, steps, unknown) {", "for i := range steps {\n\t\t\t\trecords[i].part.Claim.Position = steps[i].To\n\t\t\t}\n\t\t\tif true {"}},
		pkg:   "./internal/engine", run: "TestUnknownCommit",
	},
	{
		name: "noseek", about: "the client goes on where it was, and not where the claim says",
		edits: []edit{
			{"consumer/begin.go", "\tm.client.SetOffsets(away)\n\tm.client.SetOffsets(to)\n", ""},
			{"consumer/begin.go", "taken[i] = len(m.cfg.Assign) > 0 || ok && got.Offset == w.claim.Position.Next", "_, _, taken[i] = got, ok, true"},
		},
		pkg: "./consumer", run: "TestRewindNeedsNoConfirmation",
	},
	{
		name: "nofold", about: "the events of a key are not brought together before they are written",
		edits: []edit{{"internal/engine/fold.go", "switch t.merge(last, e) {", "switch merged(99) {\n\t\t\tdefault:\n\t\t\t\trounds = put(rounds, round, *e)"}},
		pkg:   "./internal/engine", run: "TestRandomHistories",
	},
	{
		name: "nomemory", about: "deletions are not remembered",
		edits: []edit{{"internal/mapping/deletes.go", "t.Memory = m.Quoted()", "_ = m"}},
		pkg:   "./internal/engine", run: "TestRandomHistories",
	},
	{
		name: "wall-clock", about: "`now` and `today` in an event become the time at which it is read",
		edits: []edit{{"internal/pgtext/time.go", `[...]string{"now", "today", "tomorrow", "yesterday"}`, `[...]string{"\x00"}`}},
		pkg:   "./internal/engine", run: "TestRule15ClockWords",
	},
}
