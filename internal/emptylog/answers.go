package emptylog

import (
	"maps"
	"slices"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"
)

func (b *Broker) versions(req *kmsg.ApiVersionsRequest) kmsg.Response {
	resp := req.ResponseKind().(*kmsg.ApiVersionsResponse)
	for _, key := range slices.Sorted(maps.Keys(most)) {
		one := kmsg.NewApiVersionsResponseApiKey()
		one.ApiKey, one.MaxVersion = int16(key), most[key]
		resp.ApiKeys = append(resp.ApiKeys, one)
	}
	return resp
}

// node is the broker's id.
const node = 1

func (b *Broker) metadata(req *kmsg.MetadataRequest) kmsg.Response {
	resp := req.ResponseKind().(*kmsg.MetadataResponse)
	resp.ControllerID, resp.ClusterID = node, &b.cluster
	broker := kmsg.NewMetadataResponseBroker()
	broker.NodeID, broker.Host, broker.Port = node, "localhost", 9092
	resp.Brokers = append(resp.Brokers, broker)
	var names []string
	if req.Topics == nil {
		names = slices.Sorted(maps.Keys(b.topics))
	}
	for _, t := range req.Topics {
		if t.Topic != nil {
			names = append(names, *t.Topic)
			continue
		}
		for name, is := range b.topics {
			if is.ID == t.TopicID {
				names = append(names, name)
			}
		}
	}
	for _, name := range names {
		t, is := kmsg.NewMetadataResponseTopic(), b.topics[name]
		t.Topic, t.TopicID = &name, is.ID
		if is.Ends == nil {
			t.ErrorCode = kerr.UnknownTopicOrPartition.Code
		}
		for n := range is.Ends {
			p := kmsg.NewMetadataResponseTopicPartition()
			p.Partition, p.Leader, p.Replicas, p.ISR = int32(n), node, []int32{node}, []int32{node}
			t.Partitions = append(t.Partitions, p)
		}
		resp.Topics = append(resp.Topics, t)
	}
	return resp
}

func (b *Broker) offsets(req *kmsg.ListOffsetsRequest) kmsg.Response {
	resp := req.ResponseKind().(*kmsg.ListOffsetsResponse)
	for _, topic := range req.Topics {
		t := kmsg.NewListOffsetsResponseTopic()
		t.Topic = topic.Topic
		for _, partition := range topic.Partitions {
			p := kmsg.NewListOffsetsResponseTopicPartition()
			p.Partition = partition.Partition
			end, ok := b.end(topic.Topic, partition.Partition)
			switch {
			case !ok:
				p.ErrorCode = kerr.UnknownTopicOrPartition.Code
			case partition.Timestamp < 0: // the beginning, or the end
				p.Offset = end
			default:
				p.Offset = -1 // no record has that time
			}
			t.Partitions = append(t.Partitions, p)
		}
		resp.Topics = append(resp.Topics, t)
	}
	return resp
}

// epochs says of each epoch that it lasted until the end: nothing was cut off.
func (b *Broker) epochs(req *kmsg.OffsetForLeaderEpochRequest) kmsg.Response {
	resp := req.ResponseKind().(*kmsg.OffsetForLeaderEpochResponse)
	for _, topic := range req.Topics {
		t := kmsg.NewOffsetForLeaderEpochResponseTopic()
		t.Topic = topic.Topic
		for _, partition := range topic.Partitions {
			p := kmsg.NewOffsetForLeaderEpochResponseTopicPartition()
			p.Partition, p.LeaderEpoch = partition.Partition, partition.LeaderEpoch
			end, ok := b.end(topic.Topic, partition.Partition)
			if p.EndOffset = end; !ok {
				p.ErrorCode = kerr.UnknownTopicOrPartition.Code
			}
			t.Partitions = append(t.Partitions, p)
		}
		resp.Topics = append(resp.Topics, t)
	}
	return resp
}

func (b *Broker) fetch(req *kmsg.FetchRequest) kmsg.Response {
	resp := req.ResponseKind().(*kmsg.FetchResponse)
	if req.SessionID > 0 { // none was given
		resp.ErrorCode = kerr.FetchSessionIDNotFound.Code
		return resp
	}
	told := false // an error
	for _, topic := range req.Topics {
		t := kmsg.NewFetchResponseTopic()
		t.Topic = topic.Topic
		for _, partition := range topic.Partitions {
			p := kmsg.NewFetchResponseTopicPartition()
			p.Partition = partition.Partition
			end, ok := b.end(topic.Topic, partition.Partition)
			p.HighWatermark, p.LastStableOffset, p.LogStartOffset = end, end, end
			switch {
			case !ok:
				p.ErrorCode = kerr.UnknownTopicOrPartition.Code
			case partition.FetchOffset != end:
				p.ErrorCode = kerr.OffsetOutOfRange.Code
			}
			told = told || p.ErrorCode != 0
			t.Partitions = append(t.Partitions, p)
		}
		resp.Topics = append(resp.Topics, t)
	}
	if !told {
		b.wait(req.MaxWaitMillis)
	}
	return resp
}

func (b *Broker) configs(req *kmsg.DescribeConfigsRequest) kmsg.Response {
	resp := req.ResponseKind().(*kmsg.DescribeConfigsResponse)
	for _, resource := range req.Resources {
		r := kmsg.NewDescribeConfigsResponseResource()
		r.ResourceType, r.ResourceName = resource.ResourceType, resource.ResourceName
		if t, ok := b.topics[resource.ResourceName]; ok && resource.ResourceType == kmsg.ConfigResourceTypeTopic {
			c, policy := kmsg.NewDescribeConfigsResponseResourceConfig(), "delete"
			if t.Compacted {
				policy = "compact"
			}
			c.Name, c.Value = "cleanup.policy", &policy
			r.Configs = append(r.Configs, c)
		} else {
			r.ErrorCode = kerr.UnknownTopicOrPartition.Code
		}
		resp.Resources = append(resp.Resources, r)
	}
	return resp
}
