package lookup

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"gorm.io/gorm"

	"github.com/cacheplugin/cacheplugin/cache"
	"github.com/cacheplugin/cacheplugin/conj"
	"github.com/cacheplugin/cacheplugin/internal/database"
	"github.com/cacheplugin/cacheplugin/internal/misconfig"
	"github.com/cacheplugin/cacheplugin/internal/namespace"
	"github.com/cacheplugin/cacheplugin/internal/policy"
	"github.com/cacheplugin/cacheplugin/internal/report"
	"github.com/cacheplugin/cacheplugin/internal/store"
)

// Prepare decides whether a query is looked up; it returns nil if not. An error
// is the query's own.
func (h *Handle) Prepare(ctx context.Context, q Query) (*Read, error) {
	h.noteHandMade(ctx, &q)
	h.tellTables(ctx, &q)
	q.info = cache.RecorderOf(ctx)
	if h.uninvited(&q) {
		h.informUninvited(ctx, &q)
		return nil, nil
	}
	if q.Streams && !q.Scans && q.settings == nil {
		h.noteStream(ctx, &q)
		return nil, nil
	}
	r, reason, err := h.read(ctx, &q)
	if errors.Is(err, misconfig.Err) { // an option of the call site
		return nil, err
	}
	if err != nil {
		const failed = "a query could not be prepared for the cache"
		h.Report.Failed(ctx, failed, q.table, err)
		q.bypassed(q.table, 0, failed+": "+err.Error())
		return nil, nil
	}
	if r == nil {
		if reason != "" {
			h.skip(ctx, &q, q.table, 0, reason)
		} else {
			h.informUninvited(ctx, &q)
		}
		return nil, nil
	}
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	return r, nil
}

// uninvited reports whether it is sure without a look at the text that nobody
// has asked for the query to be cached.
func (h *Handle) uninvited(q *Query) bool {
	if q.settings != nil {
		return false
	}
	if q.DB.Statement.TableExpr != nil || q.table == "" {
		return false
	}
	p := h.Policies.Of(q.table, q.model)
	return p.Err == nil && p.Ops == 0
}

// noteStream tells of a query of Row or Rows that would have been cached if it were
// one of Find. The caller may take rows for as long as it likes, and the migrator
// reads through them, so that they are cached opt-in only.
func (h *Handle) noteStream(ctx context.Context, q *Query) {
	d, reason, err := h.decide(ctx, q)
	if err != nil || reason != "" || d.admit().reason != "" {
		q.bypassed(q.table, 0, reasonStream) // nothing is lost
		return
	}
	h.skip(ctx, q, d.table, d.op, reasonStream)
}

// skip tells of a query that is not looked up.
func (h *Handle) skip(ctx context.Context, q *Query, table string, op cache.Op, reason string) {
	q.bypassed(table, op, reason)
	shape := h.Shapes.OfText(h.dialect, q.Text, op, table)
	shape.Skip(reason)
	h.Report.Event(ctx, report.Event{Kind: report.Skip, Table: table, Op: op, Reason: reason, Shape: shape.ID, Query: shape.Text})
}

// reasonStream is why queries of Row and Rows are not cached by a profile.
const reasonStream = "Row and Rows are cached opt-in only, other than Scan"

// decision is what is known of a query before the cache is asked.
type decision struct {
	query    *Query
	pool     gorm.ConnPool // that answers: a source, or the transaction
	database *database.Database
	version  uint64 // of the catalog that the plan was made of
	plan     *conj.Plan

	declared []*conj.Table // by DependsOn
	unknown  string        // a function that nobody vouches for

	table  string // whose policy applies
	policy *policy.Policy
	op     cache.Op
	// volatile is what of the text or its arguments the clock decides.
	volatile string
	deps     []conj.Dependency
	joined   []*conj.Joined // tables of which the result tells the rows, in the order of deps
	space    *namespace.Namespace
	key      store.EntryKey
}

// read returns the read of a query, or the reason why it is not cached; both
// are empty where the profile just doesn't list the operation.
func (h *Handle) read(ctx context.Context, q *Query) (*Read, string, error) {
	d, reason, err := h.decide(ctx, q)
	if err != nil || reason != "" {
		return nil, reason, err
	}
	adm := d.admit()
	switch {
	case adm.uninvited:
		return nil, "", nil
	case adm.reason != "":
		return nil, adm.reason, nil
	}
	for _, list := range d.plan.LongLists {
		h.Report.WarnOnce(ctx, "long list "+list.Table.ID+"."+list.Column, longList(list)+": the other conditions alone say which rows of the table drop the result; ask in smaller batches, such as by FindInBatches, or raise MaxInValues",
			"query", conj.Mask(h.dialect, q.Text))
	}
	r, err := h.newRead(ctx, &d, adm)
	if err != nil {
		return nil, "", err
	}
	if reason := r.space.Unreadable(r.tables); reason != "" {
		return nil, reason, nil
	}
	return r, "", nil
}

// checkSettings refuses what a call site can't mean.
func checkSettings(s *cache.Settings) error {
	switch {
	case s == nil:
	case s.MaxStale != nil && *s.MaxStale < 0:
		return misconfig.New("cache.MaxStale", *s.MaxStale, "use for how long the result may be served without asking Redis, or zero to ask each time")
	case s.Timeout < 0:
		return misconfig.New("cache.Timeout", s.Timeout, "use a positive duration, or zero for the profile's")
	case s.Timeout > 0 && s.Timeout < time.Millisecond:
		return misconfig.New("cache.Timeout", s.Timeout, "use a millisecond at least; give the unit, such as 10 * time.Second")
	case !s.Ops.Valid():
		return misconfig.New("cache.Ops", s.Ops, "use the operations of package cache: Get, Fetch, Count, Aggregate, Exists, All")
	}
	return nil
}

// longList says what becomes of a list of values.
func longList(list conj.LongList) string {
	return fmt.Sprintf("a list of %d values for %s.%s is longer than MaxInValues and does not narrow", list.Values, list.Table.ID, list.Column)
}

// admission says whether, and how, a query that can be cached is.
type admission struct {
	timeout   time.Duration
	lock      bool
	reason    string // why it is not
	uninvited bool   // because nobody has asked for it
}

// admit weighs the policy and what the query says of itself.
func (d *decision) admit() admission {
	settings := d.query.settings
	a := admission{timeout: d.policy.Timeout, lock: d.policy.Lock}
	ops := d.policy.Ops
	if settings != nil {
		ops, a.lock = settings.Ops, a.lock || settings.Lock
		if settings.Timeout > 0 {
			a.timeout = settings.Timeout
		}
	}
	switch {
	case !ops.Has(d.op):
		a.uninvited = true
		a.reason = d.unlisted(ops)
	case a.timeout <= 0:
		a.reason = "no timeout: no profile matches the table, and Defaults has none"
	case settings != nil && (settings.Volatile || settings.Timeout > 0): // accepted at the call site
	case d.volatile != "":
		a.reason = "volatile: " + d.volatile + "; opt in with AllowVolatile or a timeout if you accept that"
	case d.unknown != "":
		a.reason = d.unknown + "; list the tables that it reads in DependsOn, or opt in with AllowVolatile or a timeout"
	}
	return a
}

// unlisted says why an operation is not cached that is not among ops.
func (d *decision) unlisted(ops cache.Op) string {
	switch {
	case d.query.settings == nil && !d.policy.Found:
		return "no profile matches " + d.table
	case d.query.settings == nil && ops == 0:
		return "the profile of " + d.table + " lists no operations"
	}
	return fmt.Sprintf("%s is not among the operations to cache: %s", d.op, ops)
}

// decide finds out all that there is to know of a query, step by step, and says
// why it can't be cached if so.
func (h *Handle) decide(ctx context.Context, q *Query) (d decision, reason string, err error) {
	d.query = q
	if err := checkSettings(q.settings); err != nil {
		return d, "", err
	}
	if reason := h.open(ctx, &d); reason != "" {
		return d, reason, nil
	}
	if reason, err = h.understand(ctx, &d); reason != "" || err != nil {
		return d, reason, err
	}
	if reason, err = h.declare(ctx, &d); reason != "" || err != nil {
		return d, reason, err
	}
	if reason = h.consult(&d); reason != "" {
		return d, reason, nil
	}
	if reason, err = h.place(ctx, &d); reason != "" || err != nil {
		return d, reason, err
	}
	reason, err = h.bind(ctx, &d)
	return d, reason, err
}

// open finds the database that answers the query.
func (h *Handle) open(ctx context.Context, d *decision) (reason string) {
	q := d.query
	if q.settings != nil && q.settings.Off {
		return "NoCache"
	}
	where, tx := q.where, q.tx
	if q.Alone != nil {
		where, tx = q.Alone.Where, q.Alone.Tx
	}
	if reason := h.gate(ctx, q.Pool, where, tx); reason != "" {
		return reason
	}
	d.pool = q.Pool
	if q.tx == nil {
		d.pool = h.Source(q.DB, q.Pool)
	}
	d.database = h.databases.Of(d.pool)
	if q.tx == nil && h.OnSource != nil {
		h.OnSource(d.database, d.pool)
	}
	if d.database.SessionTainted() {
		return "a statement has changed a pooled session's settings"
	}
	d.version = d.database.Catalog.Version()
	return ""
}

// understand compiles the text.
func (h *Handle) understand(ctx context.Context, d *decision) (reason string, err error) {
	q := d.query
	var on []string
	if q.settings != nil {
		on = q.settings.On
	}
	d.plan, err = d.database.PlanOn(ctx, d.pool, q.Text, database.Lasting(q.tx), on)
	if err != nil {
		var pin *conj.PinError
		if errors.As(err, &pin) {
			err = misconfig.New("cache.On", pin.Column, pin.Problem+": "+pin.Remedy)
		}
		return "", err
	}
	if d.plan.Statement != conj.Select {
		return "not a SELECT", nil
	}
	return d.plan.Skip, nil
}

// consult finds the policy that applies, and what forbids the query.
func (h *Handle) consult(d *decision) (reason string) {
	q, plan := d.query, d.plan
	if len(plan.Tables) == 0 && len(d.declared) == 0 {
		return "reads no table"
	}
	if name := d.database.Temporary(plan.Names); name != "" {
		return "a temporary table " + name + " was made on one of the connections"
	}
	for _, t := range plan.Tables {
		if h.Policies.Forbid(t) {
			return forbidden(t.Name)
		}
	}
	d.table = q.mainTable(plan, d.declared)
	d.policy = h.Policies.Of(d.table, q.model)
	switch {
	case d.policy.Err != nil:
		return d.policy.Err.Error()
	case d.policy.Forbids:
		return forbidden(d.table)
	case !d.policy.Found:
		d.policy = &h.Unmatched
	}
	return ""
}

func forbidden(table string) string { return "forbidden: the profile of " + table + " is nil" }

// place finds the namespace of the query's result.
func (h *Handle) place(ctx context.Context, d *decision) (reason string, err error) {
	if d.space = h.Namespaces.Sole(); d.space != nil {
		return "", nil
	}
	var names []string
	for _, t := range slices.Concat(d.plan.Tables, d.declared) {
		if !slices.Contains(names, t.Name) {
			names = append(names, t.Name)
		}
	}
	var several bool
	if d.space, several, err = h.Namespaces.Of(ctx, d.database, d.pool, names...); err != nil {
		return "", err
	}
	if several {
		return "PrefixFunc makes the prefix of one table, and the query reads several: " + strings.Join(names, ", "), nil
	}
	return "", nil
}

// bind fills in the arguments: which rows the result depends on, and its key.
func (h *Handle) bind(ctx context.Context, d *decision) (reason string, err error) {
	q := d.query
	args, reason := Normalize(q.Args)
	if reason != "" {
		return reason, nil
	}
	d.op = q.operation(d.plan, args)
	if d.volatile = d.plan.Volatile; d.volatile == "" {
		d.volatile = d.plan.VolatileArg(args)
	}
	if d.deps, err = d.plan.Bind(args); err != nil {
		return err.Error(), nil
	}
	d.dependOnDeclared()
	if !h.Spread { // the store could not register them in one step with the result
		d.join()
	}
	identity, err := d.database.Identity(ctx, d.pool)
	if errors.Is(err, database.ErrNoAutocommit) || errors.Is(err, database.ErrDirtyReads) {
		return err.Error(), nil
	}
	if err != nil {
		return "", err
	}
	var ok bool
	if d.key, ok = h.entryKey(ctx, d, identity, args); !ok {
		return "a parameter or an extra value is of a type that has no stable form", nil
	}
	return "", nil
}
