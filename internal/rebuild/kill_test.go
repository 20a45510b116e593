package rebuild_test

import "github.com/twmb/franz-go/pkg/kadm"

const childEnv = "ONCESINK_REBUILD_CHILD"

func child(string) error { return nil }

func offsetsBefore(topic string, partition int32, at int64) kadm.Offsets {
	var o kadm.Offsets
	o.Add(kadm.Offset{Topic: topic, Partition: partition, At: at})
	return o
}
