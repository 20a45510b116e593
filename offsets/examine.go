package offsets

import (
	"context"
	"fmt"
	"strings"

	"github.com/jackc/pgx/v5"
)

// Examine says of each partition what [Ledger.Claim] would answer, in the order of
// wants: nil if it would be won or given its first position, else the claim's
// own error. It changes and locks nothing, so that another process may change the
// answer in the meantime: the claim decides.
func (l *Ledger) Examine(ctx context.Context, wants []Want) ([]error, error) {
	topics, partitions := split(wants, func(w Want) Partition { return w.Partition })
	ids := make([]*string, len(wants))
	for i, w := range wants {
		ids[i] = uuid(w.TopicID)
	}
	mapTopics, targets, fingerprints := mappingColumns(l.opts.Mappings)
	// The conditions of oncesink.claim, in its order.
	rows, err := l.pool.Query(ctx, `
		select case when o.cluster_id <> nullif($2::text, '') then 'cluster'
		            when o.topic_id <> w.id then 'topic'
		            when f.dropped then 'dropped'
		            when f.target is not null then 'mapping'
		            else 'claimed' end,
		       case when o.cluster_id <> nullif($2::text, '') then o.cluster_id else coalesce(f.target, '') end, o.topic_id
		  from unnest($3::text[], $4::int[], $5::text[]::uuid[]) with ordinality w(topic, partition, id, n)
		  left join oncesink.offsets o on o.sink_group = $1::text and o.topic = w.topic and o.partition = w.partition
		  left join lateral (
		       select m.target, m.ours = '' as dropped
		         from oncesink.unlike_mappings(o.sink_group, o.topic, o.partition, $6::text[], $7::text[], $8::text[]) m
		        where not m.beside
		        order by m.target limit 1) f on true
		 order by w.n`,
		l.group, l.opts.ClusterID, topics, partitions, ids, mapTopics, targets, fingerprints)
	if err != nil {
		return nil, fmt.Errorf("examine positions: %w", missingLedger(err))
	}
	answers := make([]error, 0, len(wants))
	var outcome, detail string
	var row Claim
	_, err = pgx.ForEachRow(rows, []any{&outcome, &detail, &row.TopicID}, func() error {
		want := wants[len(answers)]
		row.Partition = want.Partition
		answers = append(answers, l.refusal(outcome, detail, row, want))
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("examine positions: %w", missingLedger(err))
	}
	return answers, nil
}

// needs are what the runtime role must be able to do with the ledger's objects, beside the execution
// of the functions.
var needs = []struct{ kind, object, privileges string }{
	{"schema", "oncesink", "usage"},
	{"table", "oncesink.offsets", "select, insert, update"},
	{"table", "oncesink.sources", "select, insert"},
	{"table", "oncesink.mappings", "select, insert, update"},
	{"table", "oncesink.mapping_definitions", "select, insert"},
	{"table", "oncesink.accepted_mappings", "select"},
	{"sequence", "oncesink.source_serial", "usage"},
}

// RightsError says what the role lacks to work with the ledger.
type RightsError struct {
	// Grants mend it, with ROLE for the role's name.
	Grants []string
}

func (e *RightsError) Error() string {
	return "the role may not work with the ledger: " + strings.Join(e.Grants, "; ")
}

// CheckRights returns a *RightsError if the role of the connection lacks what claims and advances
// need: they would fail at the first record.
func CheckRights(ctx context.Context, conn *pgx.Conn) error {
	e := &RightsError{}
	for _, n := range needs {
		var lacks string
		err := conn.QueryRow(ctx, fmt.Sprintf(`select coalesce(string_agg(p, ', '), '') from unnest(string_to_array($2::text, ', ')) p
			where not has_%s_privilege($1::text, p)`, n.kind), n.object, n.privileges).Scan(&lacks)
		if err != nil {
			return fmt.Errorf("read the role's rights: %w", missingLedger(err))
		}
		if lacks != "" {
			e.Grants = append(e.Grants, fmt.Sprintf("grant %s on %s %s to ROLE", lacks, n.kind, n.object))
		}
	}
	var denied bool
	if err := conn.QueryRow(ctx, `select exists (select from pg_proc p join pg_namespace n on n.oid = p.pronamespace
		where n.nspname = 'oncesink' and p.proname in ('claim', 'advance', 'resolve', 'halt', 'first_positions')
		  and not has_function_privilege(p.oid, 'execute'))`).Scan(&denied); err != nil {
		return fmt.Errorf("read the role's rights: %w", missingLedger(err))
	}
	if denied {
		e.Grants = append(e.Grants, "grant execute on all functions in schema oncesink to ROLE")
	}
	if len(e.Grants) == 0 {
		return nil
	}
	return e
}
