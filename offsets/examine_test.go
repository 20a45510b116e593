package offsets_test

import (
	"errors"
	"fmt"
	"reflect"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"

	"github.com/oncesink/oncesink/offsets"
)

// TestExamine: what Examine says of a partition is what Claim then answers, word for word, and it
// changes nothing.
func TestExamine(t *testing.T) {
	a, b := offsets.Mapping{Topic: "orders", Target: "public.a", Fingerprint: "1"}, offsets.Mapping{Topic: "orders", Target: "public.b", Fingerprint: "1"}
	changed := offsets.Mapping{Topic: "orders", Target: "public.b", Fingerprint: "2"}
	for _, tt := range []struct {
		name     string
		cluster  string
		topic    bool // was recreated
		mappings []offsets.Mapping
		change   string
		want     any
	}{
		{"the same", "cluster-1", false, []offsets.Mapping{a, b}, "", nil},
		{"no row yet", "cluster-1", false, []offsets.Mapping{a, b}, "delete from oncesink.offsets", nil},
		{"a table more", "cluster-1", false, []offsets.Mapping{a, b, {Topic: "orders", Target: "public.c", Fingerprint: "1"}}, "", nil},
		{"another mapping", "cluster-1", false, []offsets.Mapping{a, changed}, "", &offsets.MappingError{}},
		{"a table less", "cluster-1", false, []offsets.Mapping{a}, "", &offsets.MappingError{}},
		{"a table less, another changed", "cluster-1", false, []offsets.Mapping{changed}, "", &offsets.MappingError{}},
		{"recreated", "cluster-1", true, []offsets.Mapping{a, changed}, "", &offsets.TopicChangedError{}},
		{"another cluster", "cluster-2", true, []offsets.Mapping{a, b}, "", &offsets.ClusterChangedError{}},
		{"a cluster that names itself not", "", false, []offsets.Mapping{a, b}, "", nil},
		{"a row without a cluster", "cluster-2", false, []offsets.Mapping{a, b}, "update oncesink.offsets set cluster_id = null", nil},
		{"a row without a topic id", "cluster-1", true, []offsets.Mapping{a, b}, "update oncesink.offsets set topic_id = null", nil},
	} {
		t.Run(tt.name, func(t *testing.T) {
			r := newRig(t)
			r.process(offsets.Options{ClusterID: "cluster-1", Mappings: []offsets.Mapping{a, b}}).claim(2)
			if tt.change != "" {
				r.exec(tt.change)
			}
			wants := r.wants(partitions(3)...) // the last one has no row
			if tt.topic {
				for i := range wants {
					wants[i].TopicID = offsets.NewToken()
				}
			}
			dump := func() string {
				return value[string](r, `select concat((select json_agg(o order by topic, partition) from oncesink.offsets o), (select json_agg(m order by partition, target) from oncesink.mappings m))`)
			}
			before := dump()
			p := r.process(offsets.Options{ClusterID: tt.cluster, Mappings: tt.mappings})
			got, err := p.Examine(t.Context(), wants)
			r.must(err)
			if after := dump(); after != before {
				t.Errorf("changed %s\nto %s", before, after)
			}
			claimed, err := p.Claim(t.Context(), wants)
			r.must(err)
			for i := range wants {
				if fmt.Sprint(got[i]) != fmt.Sprint(claimed[i].Err) || reflect.TypeOf(got[i]) != reflect.TypeOf(claimed[i].Err) {
					t.Errorf("partition %d: got %v\nclaim: %v", i, got[i], claimed[i].Err)
				}
			}
			if reflect.TypeOf(got[0]) != reflect.TypeOf(tt.want) || got[2] != nil {
				t.Errorf("got %v", got)
			}
		})
	}
}

// TestCheckRights: what the printed script grants is enough, and each right that is taken away is named
// with the grant that gives it back.
func TestCheckRights(t *testing.T) {
	r := newRig(t)
	r.exec(`do $$ begin create role "examined" login; exception when duplicate_object then null; end $$`)
	script := offsets.SQL("examined")
	r.exec(script[strings.Index(script, "grant usage"):strings.Index(script, "\ncommit;")])
	conn, err := pgx.Connect(t.Context(), strings.Replace(r.url, "postgres://postgres", "postgres://examined", 1))
	r.must(err)
	defer conn.Close(t.Context())
	r.must(offsets.CheckRights(t.Context(), conn))
	for _, right := range []string{
		"select on table oncesink.offsets", "insert on table oncesink.offsets", "update on table oncesink.offsets",
		"select on table oncesink.sources", "insert on table oncesink.sources",
		"select on table oncesink.mappings", "insert on table oncesink.mappings", "update on table oncesink.mappings",
		"select on table oncesink.mapping_definitions", "insert on table oncesink.mapping_definitions", "select on table oncesink.accepted_mappings",
		"usage on sequence oncesink.source_serial",
		"execute on all functions in schema oncesink",
	} {
		r.exec("revoke " + right + " from examined")
		if strings.HasPrefix(right, "execute") {
			r.exec("revoke " + right + " from public")
		}
		var e *offsets.RightsError
		if err := offsets.CheckRights(t.Context(), conn); !errors.As(err, &e) || len(e.Grants) != 1 || e.Grants[0] != "grant "+right+" to ROLE" {
			t.Errorf("without %s: %v", right, err)
		}
		r.exec("grant " + right + " to examined")
	}
	r.must(offsets.CheckRights(t.Context(), conn))
}
