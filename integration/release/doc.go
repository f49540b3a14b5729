// Package release tests scripts/release on a small repository of its own.
package release
