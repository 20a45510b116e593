package torture

import (
	"fmt"
	"strings"
	"syscall"
	"time"
)

// twins: two processes that are one static member, and two that were given the same partitions by hand.
func twins(r *rig) {
	r.begin(setup{})
	r.load(200)
	static := r.config("instance_id: twin", "")
	first := r.start(static)
	r.moved(50)
	since := time.Now()
	second := r.start(static)
	r.eventually("the group has put out a twin", func() bool { return r.loggedAny("FENCED_INSTANCE_ID") > 0 })
	r.fired("a static member put out by its twin", r.loggedAny("FENCED_INSTANCE_ID"))
	r.moved(100)
	second.kill()
	r.recovered(since)
	first.kill()

	var all []string
	for p := range r.partitions {
		all = append(all, fmt.Sprint(p))
	}
	byHand := r.config(fmt.Sprintf("assign: {%s: [%s]}", r.name, strings.Join(all, ", ")), "")
	since = time.Now()
	first = r.start(byHand)
	r.moved(50)
	second = r.start(byHand)
	r.eventually("a twin is told of the other", func() bool { return r.loggedAny("assigned by hand to this process and to") > 0 })
	r.eventually("a twin is fenced", func() bool { return r.metric("fenced_total", `cause="other_claim"`) > 0 })
	r.fired("a partition given twice by hand", int(r.partitions))
	r.moved(100)
	r.recovered(since)
	since = time.Now()
	second.kill()
	first.kill()
	r.start(byHand)
	r.recovered(since)
}

// storm: a member comes or goes every second or two, by each protocol.
func storm(r *rig) {
	r.begin(setup{partitions: 6})
	r.load(300)
	for _, protocol := range []string{"cooperative", "eager", "consumer"} {
		r.protocol = protocol // of configurations that are written from here on
		stays := r.start("")
		r.moved(50)
		var comes *process
		for i := range 3 {
			since := time.Now()
			before := r.metric("rebalances_total", "")
			comes = r.start("")
			r.eventually("the group shares the partitions", func() bool { return r.metric("rebalances_total", "") > before })
			r.pause(r.between(200*time.Millisecond, 900*time.Millisecond))
			if before = r.metric("rebalances_total", ""); i == 1 {
				comes.kill()
			} else {
				comes.term()
			}
			r.recovered(since)
			r.eventually("the group shares them again", func() bool { return r.metric("rebalances_total", "") > before })
		}
		r.fired("members that came and went, "+protocol, 3)
		stays.term() // a group of another kind needs to be empty first
	}
	r.fired("rebalances", r.metric("rebalances_total", ""))
	r.protocol = ""
	r.start("")
}

// gentle: SIGTERM while records come; what was written is not written again.
func gentle(r *rig) {
	r.begin(setup{})
	r.load(800)
	r.nothingTwice = true
	for range 5 {
		since := time.Now()
		p := r.start("")
		r.recovered(since)
		r.moved(int64(100 + r.rnd.IntN(400)))
		p.signal(syscall.SIGTERM)
		<-p.proc.Done()
		<-p.done
		if err := p.proc.Err(); err != nil {
			r.Errorf("SIGTERM: %v", err)
		}
		r.fired("SIGTERM under load", 1)
	}
	r.start("")
}
