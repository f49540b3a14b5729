package conj

import (
	"fmt"
	"slices"
	"strings"
	"unicode"
)

// stability says whether a function may be called for a cached result.
type stability uint8

const (
	unknownFunction stability = iota
	stable                    // same result for the same arguments and data
	stableOfColumns           // stable, unless an argument stands for the clock
	sideEffect                // changes something, or waits
	volatile                  // another result each time, or in each session
)

// notFunctions are keywords that are followed by a parenthesis without
// being a function's name.
var notFunctions = set(`in any all some exists not and or when then else case end values value row array over
	filter group by using on select from where having order limit offset distinct as is like ilike between
	union except intersect partition with within lateral rows range interval cast convert extract substring
	substr trim position overlay coalesce nullif greatest least if on against returning columns path
	nested error empty collate div mod rlike regexp glob match similar escape tablesample only
	materialized recursive set xor binary unnest rollup cube sets passing`)

// safeFunctions are known to depend on their arguments and the data only.
var safeFunctions = set(`count sum avg min max total every bool_and bool_or bit_and bit_or bit_xor any_value
	stddev stddev_pop stddev_samp variance var_pop var_samp std corr covar_pop covar_samp
	string_agg array_agg group_concat json_agg jsonb_agg json_object_agg jsonb_object_agg json_arrayagg
	json_objectagg json_group_array json_group_object jsonb_group_array jsonb_group_object
	percentile_cont percentile_disc mode regr_slope regr_intercept regr_r2 regr_count median grouping
	row_number rank dense_rank percent_rank cume_dist ntile lag lead first_value last_value nth_value
	coalesce nullif ifnull greatest least if iif isnull nvl nvl2
	lower upper lcase ucase length char_length character_length octet_length bit_length substr substring left right
	trim ltrim rtrim btrim lpad rpad replace reverse repeat concat concat_ws instr strpos position locate
	initcap translate split_part ascii chr char ord hex unhex unicode quote quote_literal quote_ident
	quote_nullable format printf field elt find_in_set make_set space insert mid substring_index strcmp soundex
	starts_with md5 sha sha1 sha2 sha224 sha256 sha384 sha512 crc32 encode decode to_base64 from_base64
	to_hex like glob likely unlikely likelihood typeof convert overlay regexp_replace regexp_matches
	regexp_match regexp_like regexp_substr regexp_instr regexp_count regexp_split_to_array
	regexp_split_to_table string_to_array string_to_table array_to_string
	abs round ceil ceiling floor trunc truncate mod div power pow sqrt cbrt exp ln log log2 log10 sign pi
	sin cos tan cot asin acos atan atan2 sinh cosh tanh degrees radians gcd lcm width_bucket factorial
	date_trunc date_part extract year month day dayofmonth dayofweek dayofyear weekday week weekofyear
	yearweek quarter hour minute second microsecond dayname monthname last_day to_days to_seconds
	from_days date_format time_format str_to_date date_add date_sub adddate subdate addtime subtime
	datediff timediff timestampdiff timestampadd makedate maketime make_date make_time make_interval
	make_timestamp period_add period_diff sec_to_time time_to_sec from_unixtime convert_tz to_char to_date
	to_number to_timestamp justify_days justify_hours justify_interval isfinite timezone date_bin
	json jsonb json_extract json_unquote json_quote json_value json_query json_valid json_type json_length
	json_depth json_keys json_contains json_contains_path json_search json_array json_object json_set
	json_insert json_replace json_remove json_patch json_merge json_merge_patch json_merge_preserve
	json_array_length json_array_append json_array_insert json_overlaps json_pretty json_exists json_each
	json_tree json_each_text json_array_elements json_array_elements_text json_object_keys json_typeof
	json_build_object json_build_array json_extract_path json_extract_path_text json_strip_nulls
	json_to_record json_to_recordset json_compact json_detailed json_loose json_table
	jsonb_extract jsonb_each jsonb_each_text jsonb_array_elements jsonb_array_elements_text
	jsonb_object_keys jsonb_typeof jsonb_build_object jsonb_build_array jsonb_extract_path
	jsonb_extract_path_text jsonb_strip_nulls jsonb_array_length jsonb_set jsonb_insert jsonb_path_exists
	jsonb_path_query jsonb_path_query_array jsonb_path_query_first jsonb_path_match jsonb_pretty
	jsonb_to_record jsonb_to_recordset jsonb_object jsonb_array jsonb_patch jsonb_remove jsonb_replace
	to_json to_jsonb row_to_json array_to_json
	array_length array_position array_positions array_append array_prepend array_cat array_remove
	array_replace array_upper array_lower array_ndims cardinality unnest generate_series generate_subscripts
	to_tsvector to_tsquery plainto_tsquery phraseto_tsquery websearch_to_tsquery ts_rank ts_rank_cd
	ts_headline setweight tsvector_to_array strip numnode similarity word_similarity
	lower_inc upper_inc lower_inf upper_inf isempty range_merge int4range int8range numrange daterange
	tsrange tstzrange num_nulls num_nonnulls cast inet_aton inet_ntoa host masklen network text
	host family broadcast netmask
	st_distance st_dwithin st_within st_contains st_intersects st_x st_y st_astext st_asgeojson
	st_geomfromtext st_makepoint st_point st_pointfromtext st_setsrid st_srid st_distance_sphere
	bm25 snippet highlight match`)

// clockFunctions read the clock when told to by their arguments.
var clockFunctions = map[Dialect]map[string]bool{
	PostgreSQL: set(`age`),
	MySQL:      set(`unix_timestamp`),
	SQLite:     set(`date time datetime julianday strftime unixepoch timediff`),
}

// plainFunctions are stable in one dialect only. Extensions' functions are among
// them where their names are theirs alone.
var plainFunctions = map[Dialect]map[string]bool{
	PostgreSQL: set(`date int2 int4 int8 float4 float8 bool varchar numeric timestamptz timestamp timetz
		sind cosd tand cotd asind acosd atand atan2d scale min_scale trim_scale erf erfc
		bit_count get_bit set_bit get_byte set_byte normalize is_normalized parse_ident to_ascii unistr
		regr_avgx regr_avgy regr_sxx regr_sxy regr_syy make_timestamptz date_subtract pg_typeof
		array_dims array_fill trim_array array_sort array_reverse range_agg range_intersect_agg multirange
		int4multirange int8multirange nummultirange datemultirange tsmultirange tstzmultirange
		json_scalar json_serialize json_populate_record json_populate_recordset jsonb_populate_record
		jsonb_populate_recordset jsonb_set_lax jsonb_array_elements_text json_object_agg_strict jsonb_object_agg_strict
		json_object_agg_unique jsonb_object_agg_unique json_agg_strict jsonb_agg_strict
		ts_delete ts_filter querytree array_to_tsvector json_to_tsvector jsonb_to_tsvector tsquery_phrase
		xpath xpath_exists xml_is_well_formed xmlagg xmlcomment xmlconcat xmlelement xmlforest xmlparse xmlserialize
		set_masklen hostmask abbrev inet_same_family inet_merge
		point box circle line lseg path polygon area center diameter height isclosed isopen npoints radius slope width
		strict_word_similarity show_trgm unaccent levenshtein levenshtein_less_equal metaphone dmetaphone dmetaphone_alt
		uuid_generate_v3 uuid_generate_v5 uuid_nil uuid_extract_timestamp uuid_extract_version digest hmac crypt
		hstore akeys avals skeys svals hstore_to_json hstore_to_jsonb nlevel subpath subltree lca text2ltree ltree2text
		cosine_distance l2_distance l1_distance inner_product vector_dims vector_norm l2_normalize hamming_distance
		jaccard_distance binary_quantize time_bucket ` + geometryFunctions),
	MySQL: set(`date time timestamp datetime bin oct conv bit_count export_set lcase ucase
		inet6_aton inet6_ntoa is_ipv4 is_ipv6 uuid_to_bin bin_to_uuid is_uuid json_schema_valid json_normalize
		json_equals json_storage_size natural_sort_key sformat aes_encrypt aes_decrypt compress uncompress
		uncompressed_length charset collation coercibility get_format format_bytes add_months to_char lengthb
		column_get column_json column_list column_exists column_check mbrcontains mbrwithin mbrintersects ` + geometryFunctions),
	SQLite: set(`zeroblob json_error_position jsonb_tree subtype string_agg unistr`),
}

// geometryFunctions are those of PostGIS, of which MySQL has some, that read no
// table: st_transform does.
const geometryFunctions = `st_area st_length st_perimeter st_centroid st_buffer st_union st_collect st_extent
	st_makeenvelope st_intersection st_difference st_symdifference st_touches st_crosses st_overlaps st_equals
	st_disjoint st_covers st_coveredby st_envelope st_geomfromgeojson st_geogfromtext st_geographyfromtext
	st_geomfromwkb st_asbinary st_asewkt st_aswkt st_aswkb st_npoints st_isvalid st_makevalid st_simplify
	st_distancesphere st_azimuth st_geohash st_pointfromgeohash st_geometrytype st_latitude st_longitude
	st_xmin st_xmax st_ymin st_ymax st_expand st_makeline st_makepolygon st_startpoint st_endpoint st_numpoints
	st_pointn st_exteriorring st_convexhull st_closestpoint st_lineinterpolatepoint st_linelocatepoint
	st_segmentize st_snaptogrid st_tileenvelope st_asmvt st_asmvtgeom st_clusterdbscan st_clusterkmeans
	st_force2d st_multi st_isempty st_srid st_polygonfromtext st_linefromtext`

// volatileFunctions read the clock, chance, or the session.
var volatileFunctions = set(`now random rand randomblob uuid uuid_short gen_random_uuid gen_random_bytes
	uuidv4 uuidv7 uuid_v4 uuid_v7 sys_guid default uuid_generate_v1 uuid_generate_v1mc uuid_generate_v4 clock_timestamp statement_timestamp
	transaction_timestamp timeofday curdate curtime current_date current_time current_timestamp localtime
	localtimestamp utc_date utc_time utc_timestamp sysdate random_normal random_bytes
	last_insert_id last_insert_rowid lastval currval found_rows row_count changes total_changes
	txid_current txid_current_if_assigned txid_current_snapshot pg_current_xact_id
	pg_current_xact_id_if_assigned pg_current_snapshot pg_backend_pid connection_id current_setting
	current_user session_user system_user user current_role current_schema current_schemas current_catalog
	current_database database schema inet_client_addr inet_client_port pg_postmaster_start_time
	pg_conf_load_time pg_is_in_recovery pg_last_wal_replay_lsn pg_current_wal_lsn is_free_lock is_used_lock
	sqlite_version version`)

var effectFunctions = set(`nextval setval set_config pg_notify get_lock release_lock release_all_locks sleep
	benchmark pg_terminate_backend pg_cancel_backend pg_reload_conf load_extension setseed master_pos_wait
	pg_rotate_logfile pg_export_snapshot`)

var effectPrefixes = []string{"pg_advisory_", "pg_try_advisory_", "dblink", "lo_", "pg_sleep", "pg_logical_",
	"pg_create_", "pg_drop_", "pg_replication_", "pg_stat_reset", "pg_switch_"}

// aggregateFunctions make a SELECT an aggregate unless they are windowed.
var aggregateFunctions = set(`count sum avg min max total every bool_and bool_or bit_and bit_or bit_xor any_value
	stddev stddev_pop stddev_samp variance var_pop var_samp std corr covar_pop covar_samp string_agg
	array_agg group_concat json_agg jsonb_agg json_object_agg jsonb_object_agg json_arrayagg json_objectagg
	json_group_array json_group_object jsonb_group_array jsonb_group_object percentile_cont percentile_disc
	mode median`)

// plainInWrites are the functions allowed in the WHERE of a write whose rows
// are read before it: both statements must see the same rows.
var plainInWrites = set(`lower upper length char_length octet_length trim ltrim rtrim substr substring
	coalesce ifnull nullif abs round concat mod replace left right`)

// tableFunctions are those allowed in FROM: they read no table.
var tableFunctions = set(`generate_series unnest json_each json_tree jsonb_each json_each_text jsonb_each_text
	json_array_elements jsonb_array_elements json_array_elements_text jsonb_array_elements_text
	json_object_keys jsonb_object_keys json_table json_to_recordset jsonb_to_recordset json_to_record
	jsonb_to_record json_populate_recordset jsonb_populate_recordset jsonb_tree regexp_split_to_table string_to_table generate_subscripts jsonb_path_query
	regexp_matches`)

var volatileWords = set(`current_date current_time current_timestamp localtime localtimestamp current_user
	session_user system_user current_role current_catalog current_schema utc_date utc_time utc_timestamp
	sysdate`)

// clockWords are words that PostgreSQL reads, in a date, as relative to now.
var clockWords = set(`now today tomorrow yesterday`)

// sqliteClock are the arguments by which SQLite's date functions read the clock
// (a fraction of a second stands for now if it is the time), or the time zone of
// the process.
var sqliteClock = set(`now subsec subsecond localtime utc`)

// meansNow reports whether PostgreSQL may read a text as a date relative to now:
// a clock word, alone or with a time or a zone, between any punctuation.
func meansNow(text string) bool {
	found := false
	for field := range strings.FieldsFuncSeq(text, betweenFields) {
		switch {
		case clockWords[strings.ToLower(field)]:
			found = true
		case len(field) > 4 && !strings.ContainsAny(field, "0123456789/"):
			return false // a word of prose
		}
	}
	return found
}

func betweenFields(r rune) bool {
	return !unicode.IsLetter(r) && !unicode.IsDigit(r) && !strings.ContainsRune("/:.+-_", r)
}

// VolatileArg names an argument of a call by which the result may depend on the
// clock, as Volatile does of the text: PostgreSQL reads the text 'today' as a date
// wherever it is compared with one. The arguments have been normalised by
// NormalizeArg. It is empty if there is none.
func (p *Plan) VolatileArg(args []any) string {
	if p.d != PostgreSQL {
		return ""
	}
	for i, arg := range args {
		if argMeansNow(arg) {
			return fmt.Sprintf("parameter %d, which may stand for the time", i+1)
		}
	}
	return ""
}

func argMeansNow(arg any) bool {
	switch arg := arg.(type) {
	case string:
		return meansNow(arg)
	case Stringer:
		return meansNow(arg.Text) || argMeansNow(arg.Value)
	case []string:
		return slices.ContainsFunc(arg, meansNow)
	case []any:
		return slices.ContainsFunc(arg, argMeansNow)
	}
	return false
}

func isVolatileWord(d Dialect, word string) bool {
	return volatileWords[word] || d == PostgreSQL && word == "user"
}

func classify(d Dialect, name string) stability {
	switch {
	case clockFunctions[d][name]:
		return stableOfColumns
	case safeFunctions[name], plainFunctions[d][name]:
		return stable
	case effectFunctions[name]:
		return sideEffect
	}
	base := name[strings.LastIndexByte(name, '.')+1:]
	if effectFunctions[base] {
		return sideEffect
	}
	if volatileFunctions[name] {
		return volatile
	}
	for _, prefix := range effectPrefixes {
		if strings.HasPrefix(base, prefix) {
			return sideEffect
		}
	}
	return unknownFunction
}

func set(words string) map[string]bool {
	m := make(map[string]bool)
	for _, w := range strings.Fields(words) {
		m[w] = true
	}
	return m
}
