package main

import "strings"

// suites are what is measured, in this order.
var suites = []suite{
	{name: "limits", title: "A hit, in relation to what no cache below GORM can beat", once: true, make: limits},
	{name: "memory", title: "Bytes of an entry in Redis, in relation to the budget", once: true, make: memory},
	{name: "reads", title: "Hits, in relation to GORM alone", make: reads},
	{name: "misses", title: "Misses, in relation to GORM alone", make: misses},
	{name: "throughput", title: "Hits in one goroutine and in many, in relation to GORM alone", make: throughput},
	{name: "growth", title: "Hits by values in a list and writes by schemes of the table, in relation to GORM alone", make: growth},
	{name: "writes", title: "Writes, in relation to GORM alone", make: writes},
	{name: "mixed", title: "Reads and writes together, in relation to GORM alone", make: mixed},
	{name: "processes", title: "Reads and writes in processes that share a cache, in relation to GORM alone", make: processes},
	{name: "afar", title: "Database and Redis 0.5 ms away, in relation to GORM alone", networked: true, make: afar},
}

// named returns the suite of a name. Those of -scale have one of their own.
func named(name string) suite {
	for _, s := range suites {
		if s.name == name {
			return s
		}
	}
	return suite{name: name, title: "The store alone, in relation to the smallest size"}
}

// suiteNames lists the suites.
func suiteNames() string {
	var names []string
	for _, s := range suites {
		names = append(names, s.name)
	}
	return strings.Join(names, ", ")
}
