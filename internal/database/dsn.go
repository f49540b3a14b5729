package database

import (
	"reflect"
	"slices"
	"strings"

	"gorm.io/gorm"

	"github.com/cacheplugin/cacheplugin/conj"
)

// dsnOptions are the parameters of a handle's DSN that may change what its
// driver makes of a result: all that are not known to say only where the
// database is, who asks, and how long to wait. Handles that differ in one don't
// share results. A handle that was opened on a pool has no DSN; what its driver
// does shows as far as sessionSettings asks for it.
func dsnOptions(dialector gorm.Dialector, d conj.Dialect) string {
	dsn := dsnOf(dialector)
	var options []string
	switch {
	case d == conj.PostgreSQL && !strings.Contains(dsn, "://"):
		options = strings.Fields(dsn) // key=value, separated by spaces
	default:
		_, query, _ := strings.Cut(dsn, "?")
		options = strings.Split(query, "&")
	}
	options = slices.DeleteFunc(options, func(option string) bool {
		name, _, _ := strings.Cut(option, "=")
		return name == "" || harmlessOptions[d][strings.ToLower(name)]
	})
	slices.Sort(options)
	return strings.Join(options, "&")
}

// dsnOf reads the field that GORM's dialectors keep their DSN in. They are the
// user's choice, so that no driver is imported here.
func dsnOf(dialector gorm.Dialector) string {
	v := reflect.ValueOf(dialector)
	for v.Kind() == reflect.Pointer {
		if v.IsNil() {
			return ""
		}
		v = v.Elem()
	}
	if v.Kind() != reflect.Struct {
		return ""
	}
	for i := range v.NumField() { // an embedded Config may be nil
		if f := v.Field(i); v.Type().Field(i).Anonymous && f.Kind() == reflect.Pointer && f.IsNil() {
			return ""
		}
	}
	if f := v.FieldByName("DSN"); f.IsValid() && f.Kind() == reflect.String {
		return f.String()
	}
	return ""
}

// harmlessOptions are parameters of DSNs, in lower case, that change no result:
// those of pgx, go-sql-driver/mysql and go-sqlite3. What they set in the
// session is read from there.
var harmlessOptions = map[conj.Dialect]map[string]bool{
	conj.PostgreSQL: words(`host hostaddr port user password passfile dbname database service servicefile sslmode sslcert sslkey sslrootcert
		sslpassword sslsni sslnegotiation sslinline application_name fallback_application_name connect_timeout target_session_attrs
		min_read_buffer_size statement_cache_capacity description_cache_capacity statement_cache_mode krbspn krbsrvname
		channel_binding require_auth keepalives keepalives_idle keepalives_interval keepalives_count tcp_user_timeout load_balance_hosts
		statement_timeout lock_timeout idle_in_transaction_session_timeout idle_session_timeout
		pool_max_conns pool_min_conns pool_max_conn_lifetime pool_max_conn_idle_time pool_health_check_period pool_max_conn_lifetime_jitter`),
	conj.MySQL: words(`timeout readtimeout writetimeout tls servername serverpubkey allowallfiles allowcleartextpasswords allowfallbacktoplaintext
		allownativepasswords allowoldpasswords checkconnliveness compress connectionattributes maxallowedpacket multistatements
		rejectreadonly innodb_lock_wait_timeout wait_timeout interactive_timeout net_read_timeout net_write_timeout max_execution_time`),
	conj.SQLite: words(`_auth _auth_user _auth_pass _auth_crypt _auth_salt _busy_timeout _timeout _cache_size _auto_vacuum _vacuum _journal_mode _journal
		_locking_mode _locking _mutex _secure_delete _synchronous _sync _txlock _foreign_keys _fk _defer_foreign_keys _defer_fk
		_ignore_check_constraints _query_only _recursive_triggers _rt cache mode vfs immutable psow nolock modeof`),
}

func words(list string) map[string]bool {
	set := map[string]bool{}
	for _, w := range strings.Fields(list) {
		set[w] = true
	}
	return set
}
