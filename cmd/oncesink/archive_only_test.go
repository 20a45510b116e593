package main

import (
	"log/slog"
	"testing"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/oncesink/oncesink/internal/archive"
	"github.com/oncesink/oncesink/offsets"
)

// A topic with a record at each offset of the archive is whole; one that lacks any may have been compacted.
func TestArchiveLacks(t *testing.T) {
	a, err := archive.Open(t.Context(), t.TempDir(), archive.Options{})
	if err != nil {
		t.Fatal(err)
	}
	s := &session{log: slog.New(slog.DiscardHandler)}
	for topic, at := range map[string][]int64{"whole": {5, 6, 7}, "between": {5, 7}, "end": {5, 6}} {
		id := offsets.NewToken()
		w, err := a.Begin(t.Context(), archive.Source{Cluster: "c", TopicID: id, Partition: offsets.Partition{Topic: topic}}, 5)
		if err != nil {
			t.Fatal(err)
		}
		var records []*kgo.Record
		for _, o := range at {
			records = append(records, &kgo.Record{Offset: o, Value: []byte("v")})
		}
		if err := w.Records(records, 8); err != nil {
			t.Fatal(err)
		}
		if _, err := w.Finish(t.Context()); err != nil {
			t.Fatal(err)
		}
		if lacks, err := s.lacks(t.Context(), a, topic, id); err != nil || lacks != (topic != "whole") {
			t.Errorf("%s: %v, %v", topic, lacks, err)
		}
		if lacks, err := s.lacks(t.Context(), a, topic, offsets.NewToken()); err != nil || lacks {
			t.Errorf("%s, of another id: %v, %v", topic, lacks, err)
		}
	}
}
