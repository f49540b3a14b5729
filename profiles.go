package cacheplugin

import (
	"fmt"
	"path"
	"reflect"
	"sort"
	"strings"
	"time"

	"github.com/cacheplugin/cacheplugin/cache"
	"github.com/cacheplugin/cacheplugin/internal/misconfig"
	"github.com/cacheplugin/cacheplugin/internal/policy"
)

// Profile says how queries on a table are cached.
type Profile struct {
	// Ops are the operations that are cached without being asked for. The
	// zero value caches opt-in only, by cache.Cache or cache.With.
	Ops cache.Op

	// Timeout is how long a result may live. Defaults to that of
	// Config.Defaults; a profile that ends up with none is an error from
	// db.Use.
	Timeout time.Duration

	// Lock makes one process compute a missing result while the others wait
	// for it, for every query of the profile.
	Lock bool

	// MaxStale permits to serve results out of Config.NearCache without asking
	// Redis, for that long after Redis has last vouched for them, and no longer
	// than Timeout. This process's own writes are seen at once. Other processes'
	// writes are told of by Redis, as a rule within milliseconds; when a message
	// is lost, results may be older by MaxStale. A query that reads several tables
	// has the least MaxStale of their profiles; those without a profile have 0. It
	// is not inherited from Config.Defaults, and without NearCache it is an error from
	// db.Use.
	//
	// Defaults to 0: Redis is asked each time.
	MaxStale time.Duration

	// CacheOnSave names a column, such as "id". An instance that is created
	// or updated by a model is read into the cache when that is committed, by
	// the query of First with this column's value, so that the next
	// db.First(&user, id), or db.Where(&User{Email: email}).First(&user),
	// hits. It costs one query a saved instance on the way of the commit.
	CacheOnSave string

	// Touches are the tables that triggers on this table write to. A write
	// to a table that has triggers and no Touches drops everything that is
	// cached, since a trigger's writes can't be seen. List the table itself
	// when its triggers change its own rows; an empty, non-nil slice says
	// that the triggers write nowhere.
	Touches []string

	// DependsOn are tables, any change of which drops the results of queries
	// that read this one: those that functions, or this table itself if it is
	// a view or a foreign table, read and that a query's text doesn't show.
	// Whoever sets it vouches that these are all. A view's profile so makes
	// queries of the view cacheable, a profile by a function's name those that
	// call it, and any table's profile those that read the table and call
	// functions that are not known to be stable. An empty, non-nil slice says
	// that no further table is read. While a name is unknown to the database,
	// the queries are not cached, and Logger and Observer are told.
	DependsOn []string
}

// Profiles maps patterns of table names to profiles. A pattern is a table's
// name or a glob (*, ?, [a-z]), such as "auth_*". The most exact pattern
// applies: the name itself, then the longest glob, then "*". A nil profile
// forbids caching of every query that reads the table, even opt-in.
type Profiles map[string]*Profile

// profiler is a model that carries its own profile. It is found like GORM's
// TableName; a pattern in Config.Profiles that names the table wins over it.
type profiler interface{ CacheProfile() Profile }

// validate reports the first field that is wrong.
func (p Profile) validate(field string) error {
	if !p.Ops.Valid() {
		return misconfig.New(field+".Ops", p.Ops, "use the operations of package cache: Get, Fetch, Count, Aggregate, Exists, All")
	}
	if strings.ContainsAny(p.CacheOnSave, " ,\"`") {
		return misconfig.New(field+".CacheOnSave", p.CacheOnSave, "name one column, such as \"id\"")
	}
	for _, name := range p.DependsOn {
		if name == "" || strings.ContainsAny(name, " ,;\"`*?[") {
			return misconfig.New(field+".DependsOn", name, "give a table's name, such as \"orders\" or \"sales.orders\", one each")
		}
	}
	if p.MaxStale < 0 {
		return misconfig.New(field+".MaxStale", p.MaxStale, "use for how long a result may be served without asking Redis, or zero to ask each time")
	}
	switch {
	case p.Timeout < 0:
		return misconfig.New(field+".Timeout", p.Timeout, "a timeout is positive; zero takes that of Defaults")
	case p.Timeout > 0 && p.Timeout < time.Millisecond:
		return misconfig.New(field+".Timeout", p.Timeout, "a timeout is a millisecond at least; give the unit, such as 10 * time.Second")
	}
	return nil
}

// merge fills what the profile leaves out.
func (p Profile) merge(defaults Profile) Profile {
	if p.Ops == 0 {
		p.Ops = defaults.Ops
	}
	if p.Timeout == 0 {
		p.Timeout = defaults.Timeout
	}
	p.Lock = p.Lock || defaults.Lock
	return p
}

// matcher finds the profile of a table.
type matcher struct {
	exact    map[string]*Profile
	globs    []string // longest first, "*" last
	byGlob   map[string]*Profile
	defaults Profile

	forbidding bool // a pattern but * has no profile
}

func newMatcher(profiles Profiles, defaults Profile) (*matcher, error) {
	if err := defaults.validate("Defaults"); err != nil {
		return nil, err
	}
	if defaults.MaxStale != 0 {
		return nil, misconfig.New("Defaults.MaxStale", defaults.MaxStale, "set it in the profiles of the tables whose results may be old")
	}
	m := &matcher{exact: map[string]*Profile{}, byGlob: map[string]*Profile{}, defaults: defaults}
	for pattern, p := range profiles {
		field := fmt.Sprintf("Profiles[%q]", pattern)
		if pattern == "" {
			return nil, misconfig.New(field, "", "a pattern is a table's name or a glob such as \"auth_*\"")
		}
		if _, err := path.Match(pattern, "x"); err != nil {
			return nil, misconfig.New(field, pattern, "the glob is malformed: close its brackets")
		}
		if p != nil {
			if err := p.validate(field); err != nil {
				return nil, err
			}
			merged := p.merge(defaults)
			if merged.Timeout == 0 {
				return nil, misconfig.New(field+".Timeout", 0, "set it, or Defaults.Timeout: a timeout is the only bound that holds whatever fails")
			}
			p = &merged
		}
		m.forbidding = m.forbidding || p == nil && pattern != "*"
		if strings.ContainsAny(pattern, `*?[\`) {
			m.globs = append(m.globs, pattern)
			m.byGlob[pattern] = p
		} else {
			m.exact[pattern] = p
		}
	}
	sort.Slice(m.globs, func(i, j int) bool {
		a, b := m.globs[i], m.globs[j]
		if len(a) != len(b) {
			return len(a) > len(b)
		}
		return a < b
	})
	for pattern, p := range profiles {
		if p == nil {
			continue
		}
		for _, name := range p.DependsOn {
			if found, ok, _ := m.find(name[strings.LastIndexByte(name, '.')+1:], nil); ok && found == nil {
				return nil, misconfig.New(fmt.Sprintf("Profiles[%q].DependsOn", pattern), name, policy.DropsNothing)
			}
		}
	}
	return m, nil
}

// policyOf returns what applies to a table: the profile of the most exact
// pattern, or the one that its model carries.
func (m *matcher) policyOf(table string, model reflect.Type) policy.Policy {
	var carrier profiler
	if model != nil {
		carrier, _ = reflect.New(model).Interface().(profiler)
	}
	p, found, err := m.find(table, carrier)
	switch {
	case err != nil:
		return policy.Policy{Err: err}
	case !found:
		return policy.Policy{}
	case p == nil:
		return policy.Policy{Found: true, Forbids: true}
	}
	return policy.Policy{
		Found: true, Ops: p.Ops, Timeout: p.Timeout, Lock: p.Lock, MaxStale: p.MaxStale,
		CacheOnSave: p.CacheOnSave, Touches: p.Touches, DependsOn: p.DependsOn,
	}
}

// find returns the profile of a table, and whether a pattern or the model has
// one at all. A nil profile that was found forbids caching.
func (m *matcher) find(table string, model profiler) (profile *Profile, found bool, err error) {
	if p, ok := m.exact[table]; ok {
		return p, true, nil
	}
	for _, glob := range m.globs {
		if ok, _ := path.Match(glob, table); ok {
			// A model's own profile is more exact than the pattern for
			// everything, unless that forbids.
			if glob == "*" && model != nil && m.byGlob[glob] != nil {
				break
			}
			return m.byGlob[glob], true, nil
		}
	}
	if model == nil {
		return nil, false, nil
	}
	p := model.CacheProfile()
	field := fmt.Sprintf("%T.CacheProfile()", model)
	if err := p.validate(field); err != nil {
		return nil, false, err
	}
	p = p.merge(m.defaults)
	if p.Timeout == 0 {
		return nil, false, misconfig.New(field+".Timeout", 0, "set it, or Defaults.Timeout")
	}
	return &p, true, nil
}

// forbids reports whether a pattern other than the catch-all forbids caching of
// one of some tables.
func (m *matcher) forbids(tables []string) bool {
	if !m.forbidding {
		return false
	}
	for _, table := range tables {
		p, named := m.exact[table]
		for _, glob := range m.globs {
			if ok, _ := path.Match(glob, table); ok && !named && glob != "*" {
				p, named = m.byGlob[glob], true
			}
		}
		if named && p == nil {
			return true
		}
	}
	return false
}
