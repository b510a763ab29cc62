-- Net promoter score by month, from the responses that stand behind the daily one.
WITH responses_by_month AS (
    SELECT
        CAST(DATE_TRUNC('month', day) AS DATE) AS month,
        -- Elsewhere than in Redshift, SUM of BIGINT is wider, which would cost the division its decimals.
        CAST(SUM(promoters) AS BIGINT) AS promoters,
        CAST(SUM(passives) AS BIGINT) AS passives,
        CAST(SUM(detractors) AS BIGINT) AS detractors
    FROM analytics.nps_summary
    WHERE day >= :window_start
        AND day < :window_end
    GROUP BY 1
)

SELECT
    month,
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
FROM responses_by_month
