package main

// suites are what is measured, in this order.
var suites = []suite{
	{name: "limits", once: true, make: limits},
	{name: "reads", make: reads},
	{name: "writes", make: writes},
	{name: "mixed", make: mixed},
	{name: "processes", make: processes},
	{name: "memory", once: true, make: memory},
}
