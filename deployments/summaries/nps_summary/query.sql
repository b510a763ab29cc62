-- Net promoter score by day. A missing score is no response; a passive one counts as a response.
WITH responses_by_day AS (
    SELECT
        CAST(DATE_TRUNC('day', created_at) AS DATE) AS day,
        COUNT(CASE WHEN score BETWEEN 9 AND 10 THEN 1 END) AS promoters,
        COUNT(CASE WHEN score BETWEEN 7 AND 8 THEN 1 END) AS passives,
        COUNT(CASE WHEN score BETWEEN 0 AND 6 THEN 1 END) AS detractors
    FROM raw_data.nps
    WHERE created_at >= :window_start
        AND created_at < :window_end
        AND score IS NOT NULL
    GROUP BY 1
)

SELECT
    day,
    -- To 12 decimals first: what is divided in floating point (DuckDB) then rounds like a decimal.
    ROUND(
        CAST(
            100.0 * (promoters - detractors) / (promoters + passives + detractors)
            AS DECIMAL(18, 12)
        ),
        2
    ) AS nps,
    promoters,
    passives,
    detractors,
    promoters + passives + detractors AS responses
FROM responses_by_day
