"""The paper's tables and figures, run: cells are planned, trained, scored and collected.

    cells = plan_cells(Wish(load_table("table1"), "mini", out="runs"))
    run_cells(cells, ...)
    write_table(collect(wish, cells))

A *cell* is one row of a table with one seed: a job's folder, in which ``cell.json`` says how far
it is. A cell that is done, or whose training diverged, is never run again; any other goes on from
its newest snapshot. Trainings and scorings are processes of the project's own commands.
"""
