package main

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/oncesink/oncesink/consumer"
	"github.com/oncesink/oncesink/internal/archive"
	"github.com/oncesink/oncesink/internal/emptylog"
	"github.com/oncesink/oncesink/internal/kafka"
	"github.com/oncesink/oncesink/offsets"
	"github.com/oncesink/oncesink/sink"
)

// alone is how a command reads an archive, and no Kafka. Its topics are taken for ones whose logs have lost all of their records, and end where the archive does,
// so everything else goes as ever, by the group's positions (rule 35).
type alone struct {
	only bool
	// reaches: the archive has to have all below the group's positions. rests: no process of the group may run. all: the partitions are read in the
	// group's own name, up to the end.
	reaches, rests, all bool
	topics              []string // that the command is about; none: all of the configuration

	log        *emptylog.Broker   // once it is there
	partitions map[string][]int32 // of topics that the archive has
}

func (a *alone) close() {
	if a.log != nil {
		a.log.Close()
		a.log = nil
	}
}

// lead has a consumer read from the archive alone. There is no group to join: its partitions are assigned by hand.
func (a *alone) lead(c *consumer.Config) {
	if a.log == nil {
		return
	}
	c.Brokers, c.ClientOptions = []string{emptylog.Address}, []kgo.Opt{a.log.Option()}
	if !a.all {
		return
	}
	assigned := map[string][]int32{}
	for topic := range c.Topics {
		c.Topics[topic] = consumer.Start{At: consumer.Earliest}
		for _, p := range a.partitions[topic] {
			if len(c.Assign) == 0 || slices.Contains(c.Assign[topic], p) {
				assigned[topic] = append(assigned[topic], p)
			}
		}
	}
	c.Assign = assigned
}

// ends says what ends, in place of the logs, below where the group stands, and what to do about that; nothing where Kafka is read.
func (a *alone) ends(archived kafka.Archive) (what, fix string) {
	if !a.only {
		return "", ""
	}
	return fmt.Sprintf("the archive %s, which is read alone,", archived), "a process of the group has read on in the log meanwhile: leave --archive-only out, or stop it, and archive what it has read"
}

// loads says that the topics of a table are read up to where the group stands.
func (s *session) loads(table string) {
	s.alone.reaches, s.alone.rests = true, true
	if name := s.cfg.TableName(table); slices.ContainsFunc(s.sinkCfg.Tables, func(t sink.TableConfig) bool { return t.Name == name }) {
		s.alone.topics = s.topicsOf(name)
	}
}

// withoutKafka makes what is read in Kafka's place, if the archive is to be read alone.
func (s *session) withoutKafka(ctx context.Context) error {
	if !s.alone.only || s.alone.log != nil {
		return nil
	}
	if err := s.connectPostgres(ctx); err != nil {
		return err
	}
	if err := s.checkLedger(ctx); err != nil {
		return s.scrub(err)
	}
	opened, err := s.archive(ctx)
	if err != nil {
		return err
	}
	a, ok := opened.(*archive.Archive)
	if !ok {
		return &environmentError{"--archive-only: no archive is named: give --from-archive LOCATION, or set archive.location in the configuration"}
	}
	ledger := offsets.New(s.pool, s.consumer.Group, offsets.Options{})
	rows, err := ledger.Rows(ctx)
	if err != nil {
		return s.scrub(err)
	}
	if err := s.groupRests(ctx, ledger, rows); err != nil {
		return err
	}
	topics, cluster, err := s.archivedTopics(ctx, a, rows)
	if err != nil {
		return s.scrub(err)
	}
	s.alone.log = emptylog.Start(cluster, topics)
	s.alone.lead(&s.consumer)
	s.log.Info("the archive is read alone, and no Kafka", "archive", a.String(), "cluster", cluster)
	return nil
}

// groupRests refuses a group whose processes run, where its positions must not move.
func (s *session) groupRests(ctx context.Context, ledger *offsets.Ledger, rows []offsets.Row) error {
	if !s.alone.rests {
		return nil
	}
	for deadline := time.Now().Add(endingPatience); ; {
		owner, err := s.running(ctx, ledger, rows)
		switch {
		case err != nil:
			return s.scrub(err)
		case owner == "":
			return nil
		case time.Now().After(deadline):
			return &environmentError{fmt.Sprintf("--archive-only: a process of group %s runs (%s), which may read on in the log: stop it, or leave --archive-only out", s.consumer.Group, owner)}
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(100 * time.Millisecond):
		}
	}
}

// endingPatience is for how long the sessions of a process that has just ended may be seen.
const endingPatience = 2 * time.Second

// running is the owner of a row who has a session; "" if there is none.
func (s *session) running(ctx context.Context, ledger *offsets.Ledger, rows []offsets.Row) (owner string, err error) {
	for _, r := range rows {
		if alive, err := anyOwnerAlive(ctx, ledger, []offsets.Rewound{{Row: r}}); alive || err != nil {
			return r.Owner, err
		}
	}
	return "", nil
}

// archivedTopics are the topics that the archive has, or the configuration: of the id that the group reads.
func (s *session) archivedTopics(ctx context.Context, a *archive.Archive, rows []offsets.Row) (topics map[string]emptylog.Topic, cluster string, err error) {
	files, err := a.Topics(ctx, "")
	if err != nil {
		return nil, "", &environmentError{err.Error()}
	}
	names := map[string]bool{}
	for name := range s.consumer.Topics {
		names[name] = true
	}
	for _, f := range files {
		names[f.Partition.Topic] = true
	}
	for _, r := range rows {
		if s.written != nil {
			names[r.Topic] = true
		}
	}
	topics, s.alone.partitions = map[string]emptylog.Topic{}, map[string][]int32{}
	for _, name := range slices.Sorted(maps.Keys(names)) {
		of := func(p offsets.Partition) bool { return p.Topic == name }
		own := slices.DeleteFunc(slices.Clone(rows), func(r offsets.Row) bool { return !of(r.Partition) })
		held := slices.DeleteFunc(slices.Clone(files), func(f archive.File) bool { return !of(f.Partition) })
		t, from, err := s.archivedTopic(ctx, a, name, own, held)
		if err != nil {
			return nil, "", err
		}
		topics[name], cluster = t, cmp.Or(cluster, from)
	}
	if s.alone.all && len(s.alone.partitions) == 0 && s.written == nil {
		return nil, "", s.notArchived(a, strings.Join(slices.Sorted(maps.Keys(s.consumer.Topics)), ", "), "")
	}
	return topics, cluster, nil
}

// archivedTopic is one of them, by the group's rows and the files of its name, and the cluster that it is of, as far as these say it.
func (s *session) archivedTopic(ctx context.Context, a *archive.Archive, name string, rows []offsets.Row, files []archive.File) (t emptylog.Topic, cluster string, err error) {
	var ids []offsets.Token
	for _, r := range rows {
		if !r.TopicID.IsZero() {
			ids, cluster = []offsets.Token{r.TopicID}, r.ClusterID
		}
	}
	placed := len(ids) > 0
	for _, f := range files {
		if !placed && !slices.Contains(ids, f.TopicID) {
			ids = append(ids, f.TopicID)
		}
	}
	_, read := s.consumer.Topics[name]
	read = read || s.written != nil && len(rows) > 0 // which of them a pattern matches is not known yet
	matters := read && (len(s.alone.topics) == 0 || slices.Contains(s.alone.topics, name))
	switch {
	case len(ids) > 1 && matters:
		return t, "", &environmentError{fmt.Sprintf("--archive-only: the archive %s has records of %d topics of the name %s, which was deleted and created again, and group %s has no position that says which of them is meant: name an archive with the directory of one of them alone (%s)",
			a, len(ids), name, s.consumer.Group, idList(ids))}
	case len(ids) != 1: // nobody reads it
		return emptylog.Topic{ID: offsets.NewToken(), Ends: []int64{0}}, "", nil
	}
	id := ids[0]
	t.ID = id
	files = slices.DeleteFunc(files, func(f archive.File) bool { return f.TopicID != id })
	for _, p := range archive.Partitions(files) {
		t.Ends = reaching(t.Ends, p.Partition.Partition, p.Spans[len(p.Spans)-1].End)
	}
	switch {
	case len(files) > 0:
	case matters && !s.alone.all:
		return t, "", s.notArchived(a, name, id.String())
	case matters:
		s.log.Warn("the archive has no records of a topic, which is not read", "topic", name, "topic_id", id.String())
	}
	for _, r := range rows {
		if end := at(t.Ends, r.Partition.Partition); matters && s.alone.reaches && end < r.Position.Next {
			return t, "", &environmentError{fmt.Sprintf("--archive-only: group %s stands at offset %d of %s, and the archive %s ends at %d: what lies between is in the log alone. Leave --archive-only out, or use an archive that reaches further", s.consumer.Group, r.Position.Next, r.Partition, a, end)}
		}
		t.Ends = reaching(t.Ends, r.Partition.Partition, r.Position.Next)
	}
	if len(files) == 0 {
		return t, cluster, nil
	}
	for p := range t.Ends {
		s.alone.partitions[name] = append(s.alone.partitions[name], int32(p))
	}
	if matters && s.alone.reaches {
		t.Compacted, err = s.lacks(ctx, a, name, id)
	}
	if err == nil && cluster == "" {
		cluster, err = a.Cluster(ctx, files[0])
	}
	return t, cluster, err
}

func (s *session) notArchived(a *archive.Archive, topic, id string) error {
	if id != "" {
		id = ", with the id " + id + " of the one that group " + s.consumer.Group + " reads"
	}
	return &environmentError{fmt.Sprintf("--archive-only: the archive %s has no records of topic %s%s: `oncesink archive list` says what it has", a, topic, id)}
}

// lacks reports whether the files of a topic have fewer records than offsets. Whether compaction took them, or a transaction that was aborted, they don't say.
func (s *session) lacks(ctx context.Context, a *archive.Archive, topic string, id offsets.Token) (bool, error) {
	all, err := a.All(ctx, topic)
	if err != nil {
		return false, &environmentError{err.Error()}
	}
	lacks := slices.ContainsFunc(all, func(h archive.Held) bool { return h.TopicID == id && h.Records < h.End-h.First })
	if lacks {
		s.log.Info("some offsets of the archive have no record: the topic is taken for one that was compacted, of which any event may be gone", "topic", topic)
	}
	return lacks, nil
}

// reaching are ends of partitions, of which one is at least that.
func reaching(ends []int64, partition int32, end int64) []int64 {
	for int64(len(ends)) <= int64(partition) {
		ends = append(ends, 0)
	}
	ends[partition] = max(ends[partition], end)
	return ends
}

func at(ends []int64, partition int32) int64 {
	if int64(partition) >= int64(len(ends)) {
		return 0
	}
	return ends[partition]
}

func idList(ids []offsets.Token) string {
	texts := make([]string, len(ids))
	for i, id := range ids {
		texts[i] = id.String()
	}
	return strings.Join(texts, ", ")
}
