package deploy_test

import (
	"encoding/json"
	"strings"

	"github.com/oncesink/oncesink/docs"
)

// The dashboard, as a table. deploy/grafana/oncesink.json is made from it by go test ./deploy -run TestDashboard -update.

type row struct {
	title  string
	panels []panel
}

type panel struct {
	title, says, unit string
	kind              string // stat, table, heatmap; empty: lines
	width             int    // of 24
	stacked           bool
	bad               float64 // from which a stat is red; 0: never
	queries           []query
}

// query is an expression, in which SELECT stands for the labels that were picked, and what its lines are called.
type query struct{ expr, legend string }

func rows() []row {
	return []row{
		{"What needs you", []panel{
			{title: "Ready processes", says: "Processes whose /readyz answers with 200.", unit: "none", kind: "stat", width: 4, queries: []query{{"sum(oncesink_ready{SELECT})", ""}}},
			{title: "Halted partitions", says: "A person has to act on each: the table below says for which reason, and its link what to do.", unit: "none", kind: "stat", width: 4, bad: 1,
				queries: []query{{"count(max by (topic, partition) (oncesink_partition_halted{SELECT})) or vector(0)", ""}}},
			{title: "Partitions without an owner", says: "Of the ledger's partitions those that no process has.", unit: "none", kind: "stat", width: 4, bad: 1,
				queries: []query{{"sum(max by (topic) (oncesink_unowned_partitions{SELECT}))", ""}}},
			{title: "Furthest behind", says: "Age of the oldest record that is to be applied next; 0 where there is none.", unit: "s", kind: "stat", width: 4, bad: 300,
				queries: []query{{"max(oncesink_topic_lag_seconds_max{SELECT})", ""}}},
			{title: "Records", says: "Records that the positions moved over, dead letters included.", unit: "rps", kind: "stat", width: 4,
				queries: []query{{"sum(rate(oncesink_records_total{SELECT}[$__rate_interval]))", ""}}},
			{title: "Open dead letters", says: "Records that could not be written, and that nobody has decided on.", unit: "none", kind: "stat", width: 4, bad: 1,
				queries: []query{{"sum(max by (topic, status) (oncesink_dead_letters{SELECT}))", ""}}},
			{title: "Halted, by reason", says: "Each partition that is halted. The reason links to the runbook.", unit: "none", kind: "table", width: 12,
				queries: []query{{"max by (topic, partition, reason) (oncesink_partition_halted{SELECT})", ""}}},
			{title: "Partitions by state", says: "Partitions of the processes that were picked.", unit: "none", width: 12, stacked: true,
				queries: []query{{"sum by (state) (oncesink_partitions{SELECT})", "{{state}}"}}},
		}},
		{"Lag", []panel{
			{title: "Lag in time by topic", says: "Age of the next record to apply of the partition that is furthest behind.", unit: "s", width: 12,
				queries: []query{{"max by (topic) (oncesink_topic_lag_seconds_max{SELECT})", "{{topic}}"}}},
			{title: "Lag in records by topic", says: "Offsets between the positions and the ends of the logs.", unit: "none", width: 12,
				queries: []query{{"sum by (topic) (oncesink_topic_lag_records{SELECT})", "{{topic}}"}}},
			{title: "Partitions furthest behind", says: "Ten of them. Processes with more partitions than metrics.partitions have no series of each.", unit: "s", width: 12,
				queries: []query{{"topk(10, max by (topic, partition) (oncesink_partition_lag_seconds{SELECT}))", "{{topic}}/{{partition}}"}}},
			{title: "Longest without a commit, of partitions with lag", says: "Ten of them. A partition with nothing to do is none of them.", unit: "s", width: 12,
				queries: []query{{"topk(10, time() - max by (topic, partition) (oncesink_partition_last_commit_timestamp_seconds{SELECT}) and max by (topic, partition) (oncesink_partition_lag_records{SELECT}) > 0)", "{{topic}}/{{partition}}"}}},
		}},
		{"Throughput", []panel{
			{title: "Records by topic", says: "Records that the positions moved over, dead letters included.", unit: "rps", width: 8, stacked: true,
				queries: []query{{"sum by (topic) (rate(oncesink_records_total{SELECT}[$__rate_interval]))", "{{topic}}"}}},
			{title: "Bytes by topic", says: "Keys, values and headers of these records.", unit: "Bps", width: 8, stacked: true,
				queries: []query{{"sum by (topic) (rate(oncesink_record_bytes_total{SELECT}[$__rate_interval]))", "{{topic}}"}}},
			{title: "Records that no table wants", says: "No condition of a table was met.", unit: "rps", width: 8,
				queries: []query{{"sum by (instance) (rate(oncesink_unmatched_records_total{SELECT}[$__rate_interval]))", "{{instance}}"}}},
			{title: "Rows by table and result", says: "Unchanged: events that lost against what is there, as in a replay, and tombstones that met no row.", unit: "wps", width: 12, stacked: true,
				queries: []query{{"sum by (table, result) (rate(oncesink_rows_total{SELECT}[$__rate_interval]))", "{{table}} {{result}}"}}},
			{title: "Rows by route", says: "How rows were written: COPY, upserts, deletes; look: left alone, by what a look at the table told.", unit: "wps", width: 12, stacked: true,
				queries: []query{{"sum by (table, route) (rate(oncesink_rows_total{SELECT}[$__rate_interval]))", "{{table}} {{route}}"}}},
		}},
		{"Transactions", []panel{
			{title: "COMMIT", says: "How long COMMIT alone takes: the disk, and a synchronous standby.", unit: "s", kind: "heatmap", width: 12,
				queries: []query{{"sum by (le) (increase(oncesink_commit_duration_seconds_bucket{SELECT}[$__rate_interval]))", "{{le}}"}}},
			{title: "Transactions that committed", says: "From the wish for a connection to the answer to COMMIT.", unit: "s", width: 12, queries: []query{
				{`histogram_quantile(0.5, sum by (le) (rate(oncesink_transaction_duration_seconds_bucket{SELECT, outcome="committed"}[$__rate_interval])))`, "half of them"},
				{`histogram_quantile(0.99, sum by (le) (rate(oncesink_transaction_duration_seconds_bucket{SELECT, outcome="committed"}[$__rate_interval])))`, "99 %"}}},
			{title: "Transactions by outcome", says: "Only committed ones left something.", unit: "ops", width: 8, stacked: true,
				queries: []query{{"sum by (outcome) (rate(oncesink_transaction_duration_seconds_count{SELECT}[$__rate_interval]))", "{{outcome}}"}}},
			{title: "Delay from record to row", says: "From the timestamp of a partition's first record in a transaction to its COMMIT, for 99 % of them.", unit: "s", width: 8,
				queries: []query{{"histogram_quantile(0.99, sum by (le, topic) (rate(oncesink_delivery_delay_seconds_bucket{SELECT}[$__rate_interval])))", "{{topic}}"}}},
			{title: "Writers", says: "Transactions that run, and how many may. All busy, all the time: the database is the limit, or limits.writers is.", unit: "none", width: 8, queries: []query{
				{"sum(oncesink_writers_busy{SELECT})", "busy"}, {"sum(oncesink_writers{SELECT})", "there are"}}},
			{title: "Records in a transaction", says: "On average.", unit: "none", width: 8,
				queries: []query{{"sum(rate(oncesink_transaction_records_sum{SELECT}[$__rate_interval])) / sum(rate(oncesink_transaction_records_count{SELECT}[$__rate_interval]))", "records"}}},
			{title: "Bytes in a transaction", says: "On average.", unit: "bytes", width: 8,
				queries: []query{{"sum(rate(oncesink_transaction_bytes_sum{SELECT}[$__rate_interval])) / sum(rate(oncesink_transaction_bytes_count{SELECT}[$__rate_interval]))", "bytes"}}},
			{title: "Partitions in a transaction", says: "On average.", unit: "none", width: 8,
				queries: []query{{"sum(rate(oncesink_transaction_partitions_sum{SELECT}[$__rate_interval])) / sum(rate(oncesink_transaction_partitions_count{SELECT}[$__rate_interval]))", "partitions"}}},
		}},
		{"Dead letters", []panel{
			{title: "New dead letters", says: "By topic and code: an SQLSTATE, or one of the decoder's own that begins with ONS.", unit: "none", width: 8, stacked: true,
				queries: []query{{"sum by (topic, code) (increase(oncesink_dead_letters_total{SELECT}[$__rate_interval]))", "{{topic}} {{code}}"}}},
			{title: "Open dead letters by topic", says: "new: they wait for a person; retry: they are to be tried again.", unit: "none", width: 8, stacked: true,
				queries: []query{{"max by (topic, status) (oncesink_dead_letters{SELECT})", "{{topic}} {{status}}"}}},
			{title: "Oldest open dead letter", says: "Since when it is kept.", unit: "s", width: 4,
				queries: []query{{"max by (topic) (oncesink_dead_letters_oldest_age_seconds{SELECT})", "{{topic}}"}}},
			{title: "Written after all", says: "Dead letters whose records were written, by a retry or a replay.", unit: "none", width: 4,
				queries: []query{{"sum(increase(oncesink_dead_letters_resolved_total{SELECT}[$__rate_interval]))", "resolved"}}},
		}},
		{"Fences and claims", []panel{
			{title: "Fenced", says: "Partitions that were lost while they ran: to a command, to another claim, or as the ledger's row stayed locked.", unit: "none", width: 6, stacked: true,
				queries: []query{{"sum by (cause) (increase(oncesink_fenced_total{SELECT}[$__rate_interval]))", "{{cause}}"}}},
			{title: "Claims", says: "Of partitions, by what came of them.", unit: "none", width: 6, stacked: true,
				queries: []query{{"sum by (outcome) (increase(oncesink_claims_total{SELECT}[$__rate_interval]))", "{{outcome}}"}}},
			{title: "Rebalances", says: "Those that brought partitions or took some.", unit: "none", width: 6, stacked: true,
				queries: []query{{"sum by (kind) (increase(oncesink_rebalances_total{SELECT}[$__rate_interval]))", "{{kind}}"}}},
			{title: "Commits whose answer was lost", says: "The ledger tells what became of them; until then they are pending.", unit: "none", width: 6, queries: []query{
				{"sum by (result) (increase(oncesink_unknown_commits_total{SELECT}[$__rate_interval]))", "{{result}}"}, {"sum(oncesink_unknown_commits_pending{SELECT})", "pending"}}},
		}},
		{"Database", []panel{
			{title: "Attempts made again", says: "By the class of the SQLSTATE: 08 connection, 40 conflict, 53 resources, 55 lock, 57 the server starts or stops.", unit: "none", width: 8, stacked: true,
				queries: []query{{"sum by (sqlstate_class) (increase(oncesink_retries_total{SELECT}[$__rate_interval]))", "{{sqlstate_class}}"}}},
			{title: "Searches and waits", says: "Searches for records that are to blame, waits for a missing parent row, and sessions ended that held a row of the ledger.", unit: "none", width: 8, queries: []query{
				{"sum(increase(oncesink_bisections_total{SELECT}[$__rate_interval]))", "searches"}, {"sum(increase(oncesink_foreign_key_waits_total{SELECT}[$__rate_interval]))", "waits for a parent"},
				{"sum(increase(oncesink_stuck_sessions_ended_total{SELECT}[$__rate_interval]))", "sessions ended"}}},
			{title: "Silence of the servers", says: "Since when a process has not heard of one; beyond 30 seconds it is not ready.", unit: "s", width: 8,
				queries: []query{{"max by (server) (time() - oncesink_last_contact_timestamp_seconds{SELECT})", "{{server}}"}}},
			{title: "Connections", says: "Of the pool, and how many there may be.", unit: "none", width: 12, stacked: false, queries: []query{
				{"sum by (state) (oncesink_pool_connections{SELECT})", "{{state}}"}, {"sum(oncesink_pool_connections_limit{SELECT})", "limit"}}},
			{title: "Wait for a connection", says: "On average.", unit: "s", width: 12,
				queries: []query{{"sum(rate(oncesink_pool_acquire_seconds_total{SELECT}[$__rate_interval])) / sum(rate(oncesink_pool_acquires_total{SELECT}[$__rate_interval]))", "wait"}}},
		}},
		{"Kafka client", []panel{
			{title: "Fetched", says: "Batches of records, as they came and decompressed.", unit: "Bps", width: 8, queries: []query{
				{"sum(rate(oncesink_kafka_fetched_compressed_bytes_total{SELECT}[$__rate_interval]))", "as they came"}, {"sum(rate(oncesink_kafka_fetched_bytes_total{SELECT}[$__rate_interval]))", "decompressed"}}},
			{title: "Requests", says: "From writing one to the end of its response, for half and for 99 % of them. A fetch waits for records.", unit: "s", width: 8, queries: []query{
				{"histogram_quantile(0.5, sum by (le) (rate(oncesink_kafka_request_duration_seconds_bucket{SELECT}[$__rate_interval])))", "half of them"},
				{"histogram_quantile(0.99, sum by (le) (rate(oncesink_kafka_request_duration_seconds_bucket{SELECT}[$__rate_interval])))", "99 %"}}},
			{title: "Connections to brokers", says: "Opened, closed, and those that failed, with requests and responses that did.", unit: "none", width: 8, queries: []query{
				{"sum(increase(oncesink_kafka_connects_total{SELECT}[$__rate_interval]))", "opened"}, {"sum(increase(oncesink_kafka_disconnects_total{SELECT}[$__rate_interval]))", "closed"},
				{"sum(increase(oncesink_kafka_connect_errors_total{SELECT}[$__rate_interval]))", "not opened"},
				{"sum(increase(oncesink_kafka_write_errors_total{SELECT}[$__rate_interval])) + sum(increase(oncesink_kafka_read_errors_total{SELECT}[$__rate_interval]))", "failed requests"}}},
		}},
		{"Processes", []panel{
			{title: "Processor", says: "Processors' worth.", unit: "none", width: 6, queries: []query{{"sum by (instance) (rate(process_cpu_seconds_total{PROCESS}[$__rate_interval]))", "{{instance}}"}}},
			{title: "Memory", says: "Resident.", unit: "bytes", width: 6, queries: []query{{"max by (instance) (process_resident_memory_bytes{PROCESS})", "{{instance}}"}}},
			{title: "Buffered records", says: "Memory of records that are not written yet; above the limit nothing is fetched.", unit: "bytes", width: 6, queries: []query{
				{"max by (instance) (oncesink_buffer_bytes{SELECT})", "{{instance}}"}, {"max(oncesink_buffer_limit_bytes{SELECT})", "limit"}}},
			{title: "Versions", says: "What runs.", unit: "none", kind: "table", width: 6, queries: []query{{"count by (version, revision, goversion) (oncesink_build_info{SELECT})", ""}}},
		}},
	}
}

var runbook = strings.TrimSuffix(docs.Runbook(""), "#")

// dashboard is the JSON of all that, as Grafana 10 and later import it.
func dashboard() ([]byte, error) {
	source := object{"type": "prometheus", "uid": "${datasource}"}
	var panels []object
	id, y := 0, 0
	for _, r := range rows() {
		id++
		panels = append(panels, object{"id": id, "type": "row", "title": r.title, "collapsed": false, "panels": []any{}, "gridPos": object{"x": 0, "y": y, "w": 24, "h": 1}})
		y++
		x, high := 0, 0
		for _, p := range r.panels {
			if x+p.width > 24 {
				x, y, high = 0, y+high, 0
			}
			id++
			o := p.json()
			height := o["gridPos"].(object)["h"].(int)
			o["id"], o["datasource"], o["gridPos"] = id, source, object{"x": x, "y": y, "w": p.width, "h": height}
			for _, target := range o["targets"].([]object) {
				target["datasource"] = source
			}
			panels = append(panels, o)
			x, high = x+p.width, max(high, height)
		}
		y += high
	}
	variable := func(name, label, query string, more object) object {
		v := object{"name": name, "label": label, "type": "query", "datasource": source, "query": object{"query": query, "refId": "variable"}, "refresh": 2, "sort": 1, "hide": 0, "skipUrlSync": false}
		overwrite(v, more)
		return v
	}
	all := object{"multi": true, "includeAll": true, "current": object{"text": []string{"All"}, "value": []string{"$__all"}}}
	return json.MarshalIndent(object{
		"uid": "oncesink", "title": "oncesink", "tags": []string{"oncesink", "kafka", "postgresql"}, "schemaVersion": 39, "version": 1, "editable": true, "graphTooltip": 1,
		"description": "What a group of oncesink does. What to do about it: " + runbook,
		"time":        object{"from": "now-1h", "to": "now"}, "refresh": "30s", "timezone": "browser", "panels": panels,
		"links": []object{{"title": "Runbook", "type": "link", "url": runbook, "targetBlank": true, "icon": "doc", "tooltip": "What each alert means, and what to do", "tags": []string{}, "asDropdown": false, "includeVars": false, "keepTime": false}},
		"templating": object{"list": []object{
			{"name": "datasource", "label": "Data source", "type": "datasource", "query": "prometheus", "refresh": 1, "hide": 0, "skipUrlSync": false},
			variable("group", "Group", "label_values(oncesink_build_info, group)", object{"multi": false, "includeAll": false}),
			variable("job", "Job", `label_values(oncesink_build_info{group="$group"}, job)`, all),
			variable("instance", "Process", `label_values(oncesink_build_info{group="$group", job=~"$job"}, instance)`, all),
		}},
		"annotations": object{"list": []object{}},
	}, "", "  ")
}

// json is one panel, without its place.
func (p panel) json() object {
	var targets []object
	for i, q := range p.queries {
		expr := strings.NewReplacer("SELECT", `group="$group", job=~"$job", instance=~"$instance"`, "PROCESS", `job=~"$job", instance=~"$instance"`).Replace(q.expr)
		t := object{"refId": string(rune('A' + i)), "expr": expr, "legendFormat": q.legend, "range": true, "instant": false, "format": "time_series"}
		switch p.kind {
		case "table":
			t["range"], t["instant"], t["format"] = false, true, "table"
		case "stat":
			t["range"], t["instant"] = false, true
		case "heatmap":
			t["format"] = "heatmap"
		}
		targets = append(targets, t)
	}
	defaults := object{"unit": p.unit, "min": 0}
	o := object{"title": p.title, "description": p.says, "targets": targets, "fieldConfig": object{"defaults": defaults, "overrides": []object{}}}
	height := 8
	switch p.kind {
	case "stat":
		height = 4
		steps := []object{{"color": "green", "value": nil}}
		if p.bad > 0 {
			steps = append(steps, object{"color": "red", "value": p.bad})
		} else {
			steps[0]["color"] = "text"
		}
		defaults["thresholds"] = object{"mode": "absolute", "steps": steps}
		o["type"] = "stat"
		o["options"] = object{"colorMode": "value", "graphMode": "none", "textMode": "auto", "justifyMode": "auto", "orientation": "auto", "wideLayout": true, "showPercentChange": false,
			"percentChangeColorMode": "standard", "reduceOptions": object{"calcs": []string{"lastNotNull"}, "fields": "", "values": false}}
	case "table":
		o["type"] = "table"
		o["options"] = object{"showHeader": true, "frameIndex": 0}
		o["transformations"] = []object{{"id": "organize", "options": object{"excludeByName": object{"Time": true, "Value": true}}}}
		o["fieldConfig"].(object)["overrides"] = []object{{"matcher": object{"id": "byName", "options": "reason"},
			"properties": []object{{"id": "links", "value": []object{{"title": "What to do", "url": runbook + "#${__value.text}", "targetBlank": true}}}}}}
	case "heatmap":
		o["type"] = "heatmap"
		o["options"] = object{"calculate": false, "cellGap": 1, "showValue": "never", "exemplars": object{"color": "orange"},
			"color": object{"mode": "scheme", "scheme": "Blues", "steps": 64, "reverse": false, "exponent": 0.5, "fill": "dark-blue"}, "yAxis": object{"unit": p.unit, "axisPlacement": "left"},
			"tooltip": object{"mode": "single", "yHistogram": false}, "legend": object{"show": true}}
	default:
		o["type"] = "timeseries"
		stacking := "none"
		fill := 0
		if p.stacked {
			stacking, fill = "normal", 30
		}
		defaults["custom"] = object{"drawStyle": "line", "lineWidth": 1, "fillOpacity": fill, "showPoints": "never", "spanNulls": false, "stacking": object{"mode": stacking, "group": "A"}}
		o["options"] = object{"legend": object{"showLegend": true, "displayMode": "list", "placement": "bottom", "calcs": []string{}}, "tooltip": object{"mode": "multi", "sort": "desc"}}
	}
	o["gridPos"] = object{"h": height}
	return o
}
