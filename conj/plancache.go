package conj

import "sync"

const (
	defaultPlans = 4096
	// maxPlanText is the length of text in bytes above which a plan is not
	// kept: batch inserts of every size would fill the cache.
	maxPlanText = 16 << 10
)

// PlanCache keeps plans by their text, up to a number. Where it is full, one
// that is kept gives way, whichever comes first. It is safe for concurrent
// use.
type PlanCache struct {
	mu    sync.RWMutex
	limit int
	epoch uint64
	plans map[string]*Plan
}

// NewPlanCache returns a cache of at most limit plans; 0 means 4096.
func NewPlanCache(limit int) *PlanCache {
	if limit <= 0 {
		limit = defaultPlans
	}
	return &PlanCache{limit: limit, plans: make(map[string]*Plan)}
}

// Get returns the plan of a text, nil if there is none. The epoch is to be
// given to Put with the plan that is then compiled, so that a plan made from
// tables as they were before a Drop is not kept after it.
func (c *PlanCache) Get(sql string) (plan *Plan, epoch uint64) {
	c.mu.RLock()
	defer c.mu.RUnlock()
	return c.plans[sql], c.epoch
}

// Put keeps a plan, unless there has been a Drop since the epoch.
func (c *PlanCache) Put(sql string, plan *Plan, epoch uint64) {
	if len(sql) > maxPlanText {
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if epoch != c.epoch {
		return
	}
	if _, ok := c.plans[sql]; !ok && len(c.plans) >= c.limit {
		for other := range c.plans {
			delete(c.plans, other)
			break
		}
	}
	c.plans[sql] = plan
}

// Drop forgets all plans: tables have changed.
func (c *PlanCache) Drop() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.epoch++
	clear(c.plans)
}

// Len returns the number of plans kept.
func (c *PlanCache) Len() int {
	c.mu.RLock()
	defer c.mu.RUnlock()
	return len(c.plans)
}
