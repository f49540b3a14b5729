// Package opentelemetry shows what the plugin does in OpenTelemetry's traces
// and metrics.
//
//	observer, err := opentelemetry.New(opentelemetry.Options{System: "postgresql"})
//	plugin := cacheplugin.New(cacheplugin.Config{Observer: observer, ...})
//
// With GORM's own tracing plugin (gorm.io/plugin/opentelemetry/tracing) every
// query has a span. The observer adds to it an event that says what the cache
// did, and the attribute cacheplugin.result, so that a trace tells a query that
// went to the database from one that did not. Attributes that GORM's plugin
// sets as well (db.system, db.sql.table) have its names.
//
// The package stands on OpenTelemetry's API only; the program chooses the SDK
// and where the signals go. It is a module of its own, so that nobody else
// needs it.
package opentelemetry
