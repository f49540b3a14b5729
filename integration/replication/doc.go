// Package replication holds the tests of change capture: what others write to real
// servers, without the plugin, must be dropped.
package replication
