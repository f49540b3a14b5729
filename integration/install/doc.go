// Package install tests what a user gets: it installs and imports the modules of
// this repository from a module proxy that is made of the tree, outside of the
// workspace.
package install
