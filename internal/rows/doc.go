// Package rows finds out which rows a statement changes, and what they were
// like before it and are after it: their images. What the images match is what
// a cache must drop.
//
// On the way of a write it stands between package conj, which says what a text
// writes, and package commit, which collects what a transaction has changed.
// Begin reads and locks the rows that are about to change, unless the text
// says enough of them; Complete adds what is known only after the statement.
// A write may reach further than its own rows: foreign keys, triggers and
// views lead to others. Where rows can't be known one by one, the change is
// widened to the table, and where the tables can't be known, to everything.
package rows
