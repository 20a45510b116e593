package verify_test

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"testing"

	"github.com/twmb/franz-go/pkg/kadm"

	"github.com/oncesink/oncesink/internal/archive"
	"github.com/oncesink/oncesink/internal/archiver"
	"github.com/oncesink/oncesink/internal/verify"
)

// archived archives the topic, as far as that is not done.
func (r *rig) archived() *archive.Archive {
	r.Helper()
	if r.shelf == "" {
		r.shelf = r.TempDir()
	}
	a, err := archive.Open(r.Context(), r.shelf, archive.Options{})
	r.must(err)
	_, err = archiver.Run(r.Context(), archiver.Config{Archive: a, Client: r.client, Topics: []string{"orders"}, UntilEnd: true})
	r.must(err)
	return a
}

// trim deletes what the logs have below offsets.
func (r *rig) trim(below map[int32]int64) {
	r.Helper()
	var o kadm.Offsets
	for p, at := range below {
		o.Add(kadm.Offset{Topic: "orders", Partition: p, At: at})
	}
	resp, err := r.admin.DeleteRecords(r.Context(), o)
	r.must(errors.Join(err, resp.Error()))
}

// end is where a partition's log ends.
func (r *rig) end(p int32) int64 {
	r.Helper()
	ends, err := r.admin.ListEndOffsets(r.Context(), "orders")
	r.must(err)
	end, _ := ends.Lookup("orders", p)
	return end.Offset
}

// What the log has lost is told by the archive, in a sample as in a walk; what neither has can't be told; and an archive that is damaged is an error
// at once, and no mismatch.
func TestFromArchive(t *testing.T) {
	r := newRig(t, ordersTable, upserts())
	r.wholes(0, 30)
	r.sync()
	r.archived()
	r.wholes(30, 30) // which is not archived
	r.sync()
	r.trim(map[int32]int64{0: 10, 1: 5, 2: 15})
	r.exec(`update orders set note = 'damaged' where order_id in (0, 3, 4); delete from orders where order_id in (6, 9)`)
	a := r.archivedBefore()
	with := func(o *verify.Options) { o.Archive = a }
	for what, change := range map[string][]func(*verify.Options){"a walk": {with}, "a sample": {with, sampleOf(100)}} {
		res := r.verify(change...)
		if res.Mismatches != 5 || res.Untold[verify.Retention] != 5 || res.Archived == 0 || res.Events != 55 || res.EventsAbout != 55 {
			t.Errorf("%s: %+v", what, res)
		}
		r.exec(`delete from oncesink.mismatches`)
	}
	if res := r.verify(); res.Mismatches != 0 || res.Untold[verify.Retention] != 28 || res.Archived != 0 || res.Events != 30 {
		t.Errorf("without the archive: %+v", res)
	}
	r.must(filepath.WalkDir(r.shelf, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		text, err := os.ReadFile(path)
		r.must(err)
		text[len(text)/2] ^= 4
		r.must(os.Chmod(path, 0o600))
		return os.WriteFile(path, text, 0o600)
	}))
	_, err := verify.Run(t.Context(), r.options(func(o *verify.Options) { o.Archive = r.archivedBefore() }))
	var damaged *archive.DamagedError
	if !errors.As(err, &damaged) {
		t.Errorf("a damaged archive: %v", err)
	}
}

// archivedBefore is the archive as it is.
func (r *rig) archivedBefore() *archive.Archive {
	r.Helper()
	a, err := archive.Open(r.Context(), r.shelf, archive.Options{})
	r.must(err)
	return a
}
