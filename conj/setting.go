package conj

import (
	"maps"
	"slices"
	"strings"
)

// Setting is a setting of the session that a statement changes.
type Setting struct {
	// Name is the setting's name in lower case, the same for all ways to write
	// it: "timezone" for SET TIME ZONE. It is empty where the text doesn't tell
	// one, as in RESET ALL.
	Name string
	// Local is true of what ends with the transaction: PostgreSQL's SET LOCAL.
	Local bool
	// Effect is what the setting decides.
	Effect Effect
}

// Effect is what a session's setting may change of the results of queries.
type Effect uint8

// The effects. The zero Effect is that of a setting of which nothing is known:
// any of the others may be its own.
const (
	EffectUnknown   Effect = iota
	EffectNames            // which tables, columns or rows a text means: search_path, role, sql_mode
	EffectValues           // how values are read, computed or written: timezone, datestyle
	EffectIsolation        // which states of the data later transactions see
	EffectNone             // no result: plans, limits of time and memory, logs
)

var effectNames = [...]string{"unknown", "names", "values", "isolation", "none"}

// String returns the effect's name.
func (e Effect) String() string {
	if int(e) < len(effectNames) {
		return effectNames[e]
	}
	return "unknown"
}

// Meaningful reports whether the setting may change a query's result.
func (e Effect) Meaningful() bool { return e != EffectNone }

// settings are those of which the effect is known, by dialect. A setting is
// harmless if it is listed as such, and only then. Those that keep a write from
// reaching other tables (foreign_keys) are: writes are followed as if it did.
var settings = map[Dialect]map[string]Effect{
	PostgreSQL: effects(
		// Custom settings are not among the names; see SettingEffect.
		`search_path role session_authorization row_security`,
		`timezone timezone_abbreviations datestyle intervalstyle bytea_output extra_float_digits
			lc_messages lc_monetary lc_numeric lc_time lc_collate lc_ctype client_encoding
			xmlbinary xmloption standard_conforming_strings backslash_quote
			quote_all_identifiers array_nulls transform_null_equals default_text_search_config
			gin_fuzzy_search_limit session_replication_role
			pg_trgm.similarity_threshold pg_trgm.word_similarity_threshold pg_trgm.strict_word_similarity_threshold
			hnsw.ef_search hnsw.iterative_scan hnsw.max_scan_tuples hnsw.scan_mem_multiplier
			ivfflat.probes ivfflat.iterative_scan ivfflat.max_probes`,
		`transaction_isolation default_transaction_isolation transaction_snapshot`,
		`work_mem maintenance_work_mem temp_buffers hash_mem_multiplier logical_decoding_work_mem
			statement_timeout lock_timeout idle_in_transaction_session_timeout idle_session_timeout
			transaction_timeout deadlock_timeout tcp_keepalives_idle tcp_keepalives_interval
			tcp_keepalives_count tcp_user_timeout client_connection_check_interval
			application_name client_min_messages synchronous_commit commit_delay commit_siblings
			transaction_read_only default_transaction_read_only transaction_deferrable
			default_transaction_deferrable constraints temp_tablespaces default_tablespace
			default_table_access_method temp_file_limit vacuum_cost_delay vacuum_cost_limit
			random_page_cost seq_page_cost cpu_tuple_cost cpu_index_tuple_cost cpu_operator_cost
			parallel_setup_cost parallel_tuple_cost min_parallel_table_scan_size min_parallel_index_scan_size
			max_parallel_workers max_parallel_workers_per_gather max_parallel_maintenance_workers
			parallel_leader_participation debug_parallel_query force_parallel_mode
			effective_cache_size effective_io_concurrency maintenance_io_concurrency
			default_statistics_target constraint_exclusion cursor_tuple_fraction from_collapse_limit
			join_collapse_limit plan_cache_mode recursive_worktable_factor
			geqo geqo_threshold geqo_effort geqo_pool_size geqo_generations geqo_selection_bias geqo_seed
			jit jit_above_cost jit_inline_above_cost jit_optimize_above_cost
			log_statement log_duration log_min_duration_statement log_min_messages log_min_error_statement
			log_lock_waits log_temp_files log_error_verbosity log_statement_stats log_parser_stats
			log_planner_stats log_executor_stats log_min_duration_sample log_statement_sample_rate
			log_parameter_max_length log_parameter_max_length_on_error log_replication_commands
			track_activities track_counts track_io_timing track_functions track_wal_io_timing
			debug_print_parse debug_print_rewritten debug_print_plan debug_pretty_print
			stats_fetch_consistency compute_query_id update_process_title password_encryption
			escape_string_warning operator_precedence_warning check_function_bodies default_with_oids
			createrole_self_grant default_toast_compression
			seed wal_compression wal_skip_threshold max_stack_depth backend_flush_after`,
	),
	MySQL: effects(
		`sql_mode old_mode use role default_role lower_case_table_names`,
		`time_zone names character_set_client character_set_connection character_set_results
			character_set_database character_set_server character_set_filesystem character_set_collations
			collation_connection collation_database collation_server default_collation_for_utf8mb4
			lc_time_names lc_messages div_precision_increment group_concat_max_len sql_select_limit
			default_week_format max_sort_length sql_auto_is_null sql_safe_updates
			block_encryption_mode max_allowed_packet old
			system_versioning_asof storage_engine default_storage_engine
			explicit_defaults_for_timestamp updatable_views_with_limit
			cte_max_recursion_depth max_recursive_iterations show_create_table_verbosity
			internal_tmp_mem_storage_engine windowing_use_high_precision default_regex_flags
			character_set_system eq_range_index_dive_limit sql_big_selects max_join_size
			column_compression_zlib_level secure_timestamp
			show_old_temporals session_track_schema auto_increment_increment auto_increment_offset
			insert_id identity last_insert_id`,
		`tx_isolation transaction_isolation autocommit completion_type`,
		`wait_timeout interactive_timeout net_read_timeout net_write_timeout net_retry_count
			net_buffer_length lock_wait_timeout innodb_lock_wait_timeout max_execution_time max_statement_time
			idle_transaction_timeout idle_readonly_transaction_timeout idle_write_transaction_timeout
			tx_read_only transaction_read_only foreign_key_checks unique_checks check_constraint_checks
			sort_buffer_size join_buffer_size read_buffer_size read_rnd_buffer_size tmp_table_size
			max_heap_table_size bulk_insert_buffer_size preload_buffer_size query_alloc_block_size
			query_prealloc_size transaction_alloc_block_size transaction_prealloc_size
			optimizer_switch optimizer_search_depth optimizer_prune_level optimizer_trace
			optimizer_trace_max_mem_size optimizer_use_condition_selectivity optimizer_selectivity_sampling_limit
			optimizer_max_sel_arg_weight optimizer_where_cost join_cache_level
			long_query_time slow_query_log log_slow_filter log_slow_rate_limit log_slow_verbosity
			log_slow_query_time min_examined_row_limit log_warnings log_queries_not_using_indexes
			sql_log_bin sql_log_off binlog_format binlog_row_image binlog_rows_query_log_events
			profiling profiling_history_size query_cache_type query_cache_size query_cache_strip_comments
			query_cache_wlock_invalidate userstat sql_notes sql_warnings max_error_count
			session_track_system_variables session_track_transaction_info session_track_state_change
			timestamp rand_seed1 rand_seed2 innodb_strict_mode innodb_table_locks
			tmp_disk_table_size progress_report_time password user`,
	),
	// The tables of an attached database hide none of main's, and are not cached.
	SQLite: effects(
		`temp_store temp_store_directory writable_schema legacy_alter_table trusted_schema
			schema_version encoding default_encoding`,
		`case_sensitive_like reverse_unordered_selects short_column_names full_column_names
			empty_result_callbacks count_changes`,
		`read_uncommitted`,
		`attach detach foreign_keys defer_foreign_keys recursive_triggers ignore_check_constraints
			journal_mode journal_size_limit synchronous locking_mode busy_timeout cache_size cache_spill
			default_cache_size mmap_size page_size max_page_count auto_vacuum incremental_vacuum wal_autocheckpoint
			wal_checkpoint checkpoint_fullfsync fullfsync threads soft_heap_limit hard_heap_limit
			automatic_index analysis_limit optimize query_only secure_delete shrink_memory cell_size_check
			application_id user_version integrity_check quick_check foreign_key_check foreign_key_list
			index_info index_list index_xinfo table_info table_list table_xinfo database_list
			collation_list function_list module_list pragma_list compile_options data_version
			freelist_count page_count stats parser_trace vdbe_addoptrace vdbe_debug vdbe_listing vdbe_trace`,
	),
}

// effects lists settings by their effect.
func effects(names, values, isolation, none string) map[string]Effect {
	m := make(map[string]Effect)
	for effect, list := range map[Effect]string{EffectNames: names, EffectValues: values, EffectIsolation: isolation, EffectNone: none} {
		for _, name := range strings.Fields(list) {
			m[name] = effect
		}
	}
	return m
}

// extensions are those of PostgreSQL whose settings, "extension.name", may
// change results.
var extensions = set(`pg_trgm hnsw ivfflat diskann vchordrq vectors rum citus timescaledb postgis pgroonga age`)

// SettingEffect returns what a setting of the session decides. Of one that is
// not known that is EffectUnknown.
//
// PostgreSQL's settings with a dot that are no extension's are a program's own.
// Nothing reads them but current_setting, which is volatile, functions that are
// not known to be stable, and row level security, whose tables are not cached.
func SettingEffect(d Dialect, name string) Effect {
	name = strings.ToLower(name)
	if effect, known := settings[d][name]; known {
		return effect
	}
	if d != PostgreSQL {
		return EffectUnknown
	}
	if prefix, _, custom := strings.Cut(name, "."); custom && !extensions[prefix] || strings.HasPrefix(name, "enable_") {
		return EffectNone
	}
	return EffectUnknown
}

// unreadable are names that stand for several settings, that no query reads,
// that are a transaction's and not its session's, or that change by themselves.
var unreadable = set(`transaction_isolation tx_isolation names use default_role transaction_snapshot attach detach case_sensitive_like
	session_authorization identity insert_id last_insert_id schema_version`)

// MeaningfulSettings returns the names of the settings that may change a query's
// result, sorted: two sessions that agree on them give the same. Servers lack
// some of them, by their version and extensions.
func MeaningfulSettings(d Dialect) []string {
	var names []string
	for _, name := range slices.Sorted(maps.Keys(settings[d])) {
		if settings[d][name].Meaningful() && !unreadable[name] {
			names = append(names, name)
		}
	}
	return names
}
